/* musl's allocator behind a cache per thread of small slots that are free.
 *
 * Without it each malloc and free of threads on several instances writes to the same pages, and takes the
 * same lock. A slot of the cache is a slot of musl's that is allocated to its whole size: its header says
 * that nothing is reserved at its end, and names it free by a number that no allocated slot has there, so
 * musl's own checks find a second free. Slots that are aligned in a special way begin later than their
 * room does, and always have something reserved: they never come here. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <stdint.h>
#include <string.h>
#include <errno.h>
#include <sys/mman.h>
#include "../mallocng/glue.h"
#include "pthread_impl.h"

#undef malloc
#undef free
#define malloc shared_malloc
#define free shared_free
static void *shared_malloc(size_t);
static void shared_free(void *);
#include "../mallocng/malloc.c"
#include "../mallocng/free.c"
#undef malloc
#undef free

/* Classes of slots up to 1,008 bytes. */
enum { CLASSES = 20 };
/* Before a slot: a byte that is zero, its number and what is reserved (5 bits and 3), and how many units it is
 * from its group's start. */
enum { HEADER_BYTES = 4, NOT_WHOLE = 0xe0ff, FREE = 0xc000, DISTANCE = 16 };

/* Both lie in memory that the program uses as it likes. */
typedef uint32_t header __attribute__((__may_alias__));
typedef void *next __attribute__((__may_alias__));

struct bin {
	void *first;
	/* How many more slots there is room for: none before the thread has had one of the class. */
	int room, is_begun;
};
static _Thread_local struct bin bins[CLASSES];

static header *header_of(void *slot) { return (void *)((char *)slot - HEADER_BYTES); }

static void put(struct bin *bin, void *slot)
{
	*header_of(slot) |= FREE;
	*(next *)slot = bin->first;
	bin->first = slot;
	bin->room--;
}

static void *take(struct bin *bin)
{
	void *slot = bin->first;
	bin->first = *(next *)slot;
	bin->room++;
	*header_of(slot) &= ~FREE;
	return slot;
}

/* Takes all slots of a group that are ready, and gives one of them. */
static __attribute__((__noinline__)) void *refill(struct bin *bin)
{
	int class = bin - bins;
	size_t bytes = UNIT * size_classes[class] - IB;
	/* 128 KiB of slots at the most. */
	if (!bin->is_begun) bin->is_begun = 1, bin->room = 2048 >> class / 4;
	wrlock();
	struct meta *group = ctx.active[class];
	uint32_t ready = group ? group->avail_mask : 0;
	if (!ready) {
		int index = alloc_slot(class, bytes);
		if (index < 0) {
			unlock();
			return 0;
		}
		group = ctx.active[class];
		ready = group->avail_mask | 1u << index;
	}
	group->avail_mask = 0;
	unlock();
	void *first = enframe(group, a_ctz_32(ready), bytes, 0);
	while (ready &= ready - 1) put(bin, enframe(group, a_ctz_32(ready), bytes, 0));
	return first;
}

void *__libc_malloc_impl(size_t bytes)
{
	if (bytes > UNIT * 63 - IB) return shared_malloc(bytes);
	struct bin *bin = bins + size_to_class(bytes);
	return bin->first ? take(bin) : refill(bin);
}

static __attribute__((__noinline__)) void free_uncached(void *slot)
{
	shared_free(slot);
}

void __libc_free(void *slot)
{
	if (!slot) return;
	header head = *header_of(slot);
	if (head & NOT_WHOLE) return free_uncached(slot);
	const struct group *group = (void *)((char *)slot - UNIT * (size_t)(head >> DISTANCE) - UNIT);
	const struct meta *meta = group->meta;
	if (meta->mem != group) a_crash();
	int class = meta->sizeclass;
	if (class >= CLASSES || !bins[class].room) return free_uncached(slot);
	put(bins + class, slot);
}

/* Gives back what a thread has that ends. */
void __malloc_thread_ends(void)
{
	for (struct bin *bin = bins; bin < bins + CLASSES; bin++)
		while (bin->first) shared_free(take(bin));
}

#define malloc __libc_malloc_impl
#define free __libc_free
#include "../mallocng/realloc.c"
#undef malloc
/* One byte more than needed is reserved. */
#define malloc(bytes) shared_malloc((bytes) + 1)
#include "../mallocng/aligned_alloc.c"
#undef malloc
#define malloc __libc_malloc_impl
#include "../mallocng/malloc_usable_size.c"
#include "../mallocng/donate.c"
