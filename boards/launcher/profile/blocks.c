/* A plugin of QEMU's system emulators that counts how often each block of translated code is executed, in
 * a file that it maps: however the emulator ends, the counts are there. The declarations are those of its
 * interface, version 1, for which Debian has no header. */
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef uint64_t id;
struct qemu_plugin_tb;
void qemu_plugin_register_vcpu_tb_trans_cb(id, void (*)(id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
uint64_t qemu_plugin_tb_vaddr(const struct qemu_plugin_tb *);

int qemu_plugin_version = 1;

/* As boards/launcher/src/profile.rs reads it. A block that is translated again has another entry. */
struct block {
	uint64_t address, instructions, executed;
};

/* The file is sparse: what is not used takes no room. */
enum { MOST = 1 << 22 };

static struct block *blocks;
static unsigned used;

static void translated(id plugin, struct qemu_plugin_tb *code)
{
	enum { ADD = 0 };
	unsigned at = __atomic_fetch_add(&used, 1, __ATOMIC_RELAXED);
	if (at >= MOST) {
		__atomic_store_n(&used, MOST, __ATOMIC_RELAXED);
		return;
	}
	struct block *block = &blocks[at];
	block->instructions = qemu_plugin_tb_n_insns(code);
	block->address = qemu_plugin_tb_vaddr(code);
	qemu_plugin_register_vcpu_tb_exec_inline(code, ADD, &block->executed, 1);
}

/* The argument is out=FILE. */
int qemu_plugin_install(id plugin, const void *info, int argc, char **argv)
{
	const size_t size = MOST * sizeof(struct block);
	if (argc != 1 || strncmp(argv[0], "out=", 4) != 0) {
		fprintf(stderr, "where to? out=FILE\n");
		return -1;
	}
	int file = open(argv[0] + 4, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (file < 0 || ftruncate(file, (off_t)size) != 0) {
		perror(argv[0]);
		return -1;
	}
	blocks = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (blocks == MAP_FAILED) {
		perror(argv[0]);
		return -1;
	}
	close(file);
	qemu_plugin_register_vcpu_tb_trans_cb(plugin, translated);
	return 0;
}
