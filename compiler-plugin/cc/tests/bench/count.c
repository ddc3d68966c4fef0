/* A plugin of QEMU's user-mode emulators that counts the instructions of a program, exactly. The
 * declarations are those of its interface, version 1, for which Debian has no header. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef uint64_t id;
struct qemu_plugin_tb;
void qemu_plugin_register_vcpu_tb_trans_cb(id, void (*)(id, struct qemu_plugin_tb *));
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int, void *, uint64_t);
void qemu_plugin_register_atexit_cb(id, void (*)(id, void *), void *);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);

int qemu_plugin_version = 1;
static uint64_t count;

static void translated(id plugin, struct qemu_plugin_tb *block)
{
	enum { ADD = 0 };
	qemu_plugin_register_vcpu_tb_exec_inline(block, ADD, &count, qemu_plugin_tb_n_insns(block));
}

static void ended(id plugin, void *context)
{
	fprintf(stderr, "instructions %llu\n", (unsigned long long)count);
}

int qemu_plugin_install(id plugin, const void *info, int argc, char **argv)
{
	qemu_plugin_register_vcpu_tb_trans_cb(plugin, translated);
	qemu_plugin_register_atexit_cb(plugin, ended, 0);
	return 0;
}
