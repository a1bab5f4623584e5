/* What comes before main on the boards that qemu-system-arm has for a Cortex-M (MPS2, MPS3): vectors, the unit for floats, the
 * constructors. Printing is newlib's semihosting (rdimon). Any fault ends the program. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

extern char board_stack_top, board_bss_begin, board_bss_end;
void initialise_monitor_handles(void);
void __libc_init_array(void);
int main(void);

void* __dso_handle = 0; /* whose destructors are registered */

/* __libc_init_array and exit call them. */
void _init(void) {}
void _fini(void) {}

static void start(void) {
  char* at;
  *(volatile uint32_t*)0xE000ED88u |= 0xFu << 20; /* CPACR: the coprocessors that are the unit for floats */
  __asm volatile("dsb\n isb" ::: "memory");
  for (at = &board_bss_begin; at < &board_bss_end; ++at) *at = 0;
  initialise_monitor_handles();
  __libc_init_array();
  exit(main());
}

static void fault(void) {
  static const char message[] = "fault\n";
  fwrite(message, 1, sizeof message - 1, stdout);
  fflush(stdout);
  abort();
}

__attribute__((section(".vectors"), used)) void (*const vectors[16])(void) = {
    (void (*)(void))&board_stack_top, start, fault, fault, fault, fault, fault, 0, 0, 0, 0, fault, fault, 0, fault, fault,
};
