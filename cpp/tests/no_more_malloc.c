/* Ends the program at the first call of the system's allocator after no_more_malloc(), by any name. For glibc. */
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

void* __libc_malloc(size_t);
void* __libc_calloc(size_t, size_t);
void* __libc_realloc(void*, size_t);
void* __libc_memalign(size_t, size_t);

static int forbidden;

void no_more_malloc(void);
void no_more_malloc(void) { forbidden = 1; }

static void check(void) {
  static const char message[] = "malloc was called\n";
  if (!forbidden) return;
  forbidden = 0;
  if (write(2, message, sizeof message - 1) < 0) _exit(98);
  abort();
}

void* malloc(size_t size) { return check(), __libc_malloc(size); }
void* calloc(size_t count, size_t size) { return check(), __libc_calloc(count, size); }
void* realloc(void* p, size_t size) { return check(), __libc_realloc(p, size); }
void* memalign(size_t alignment, size_t size) { return check(), __libc_memalign(alignment, size); }
void* aligned_alloc(size_t alignment, size_t size) { return check(), __libc_memalign(alignment, size); }
