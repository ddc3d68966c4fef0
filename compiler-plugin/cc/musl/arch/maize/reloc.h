#define LDSO_ARCH "maize"
#define TPOFF_K 0
#define REL_SYMBOLIC 0
#define REL_PLT 0
#define REL_RELATIVE 0
#define REL_COPY 0
#define REL_DTPMOD 0
#define REL_DTPOFF 0
#define REL_TPOFF 0
#define CRTJMP(pc, sp) __builtin_trap()
