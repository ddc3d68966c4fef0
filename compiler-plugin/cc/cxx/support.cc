// What C++ without exceptions asks of its library: the heap, statics that are made once, pure virtual
// functions. maize-c++ links it.
#include <pthread.h>
#include <stdlib.h>

typedef decltype(sizeof 0) size;
namespace std {
enum class align_val_t : size {};
}

// There is no exception to throw.
static void *make(size bytes) {
  if (void *memory = malloc(bytes ? bytes : 1)) return memory;
  abort();
}

static void *make(size bytes, std::align_val_t alignment) {
  size to = static_cast<size>(alignment);
  if (void *memory = aligned_alloc(to, (bytes + to - 1) / to * to)) return memory;
  abort();
}

void *operator new(size bytes) { return make(bytes); }
void *operator new[](size bytes) { return make(bytes); }
void *operator new(size bytes, std::align_val_t to) { return make(bytes, to); }
void *operator new[](size bytes, std::align_val_t to) { return make(bytes, to); }
void operator delete(void *memory) noexcept { free(memory); }
void operator delete[](void *memory) noexcept { free(memory); }
void operator delete(void *memory, size) noexcept { free(memory); }
void operator delete[](void *memory, size) noexcept { free(memory); }
void operator delete(void *memory, std::align_val_t) noexcept { free(memory); }
void operator delete[](void *memory, std::align_val_t) noexcept { free(memory); }
void operator delete(void *memory, size, std::align_val_t) noexcept { free(memory); }
void operator delete[](void *memory, size, std::align_val_t) noexcept { free(memory); }

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t made = PTHREAD_COND_INITIALIZER;

extern "C" {
extern const void *const __dso_handle = nullptr;

void __cxa_pure_virtual() { abort(); }
void __cxa_deleted_virtual() { abort(); }

// A guard's first byte says that the variable is made, the second that a thread is at it.
int __cxa_guard_acquire(char *guard) {
  if (__atomic_load_n(guard, __ATOMIC_ACQUIRE)) return 0;
  pthread_mutex_lock(&lock);
  while (guard[1] && !guard[0]) pthread_cond_wait(&made, &lock);
  int mine = !guard[0];
  if (mine) guard[1] = 1;
  pthread_mutex_unlock(&lock);
  return mine;
}

void __cxa_guard_release(char *guard) {
  pthread_mutex_lock(&lock);
  __atomic_store_n(guard, 1, __ATOMIC_RELEASE);
  pthread_cond_broadcast(&made);
  pthread_mutex_unlock(&lock);
}
}
