static inline uintptr_t __get_tp(void) { return (uintptr_t)__builtin_thread_pointer(); }

#define TLS_ABOVE_TP
/* The runtime's block: see maize_xisa_metadata::address::thread_block. */
#define GAP_ABOVE_TP 64
#define DTP_OFFSET 0

#define MC_PC __gregs[0]
