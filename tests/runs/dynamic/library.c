// A shared library that the program opens while it runs: with thread-local and relocated data.

static __thread int calls;
static const char *const names[] = {"one", "two", "three"};

const char *next_name(void)
{
	return names[calls++ % 3];
}
