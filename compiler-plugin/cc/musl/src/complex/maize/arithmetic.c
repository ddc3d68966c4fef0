/* What the compiler makes of products and quotients of complex numbers, as in Annex G of C99. Where it has
 * the compiler's own functions of an instruction set, those are machine code of one. */
#include <math.h>

#define INFINITE(x) (isinf(x) ? 1 : 0)

#define ARITHMETIC(REAL, SUFFIX, PRODUCT, QUOTIENT) \
REAL _Complex PRODUCT(REAL a, REAL b, REAL c, REAL d) \
{ \
	REAL ac = a * c, bd = b * d, ad = a * d, bc = b * c; \
	REAL x = ac - bd, y = ad + bc; \
	if (isnan(x) && isnan(y)) { \
		int again = 0; \
		if (isinf(a) || isinf(b)) { \
			a = copysign##SUFFIX(INFINITE(a), a), b = copysign##SUFFIX(INFINITE(b), b); \
			if (isnan(c)) c = copysign##SUFFIX(0, c); \
			if (isnan(d)) d = copysign##SUFFIX(0, d); \
			again = 1; \
		} \
		if (isinf(c) || isinf(d)) { \
			c = copysign##SUFFIX(INFINITE(c), c), d = copysign##SUFFIX(INFINITE(d), d); \
			if (isnan(a)) a = copysign##SUFFIX(0, a); \
			if (isnan(b)) b = copysign##SUFFIX(0, b); \
			again = 1; \
		} \
		if (!again && (isinf(ac) || isinf(bd) || isinf(ad) || isinf(bc))) { \
			if (isnan(a)) a = copysign##SUFFIX(0, a); \
			if (isnan(b)) b = copysign##SUFFIX(0, b); \
			if (isnan(c)) c = copysign##SUFFIX(0, c); \
			if (isnan(d)) d = copysign##SUFFIX(0, d); \
			again = 1; \
		} \
		if (again) x = INFINITY * (a * c - b * d), y = INFINITY * (a * d + b * c); \
	} \
	return __builtin_complex(x, y); \
} \
REAL _Complex QUOTIENT(REAL a, REAL b, REAL c, REAL d) \
{ \
	int scale = 0; \
	REAL power = logb##SUFFIX(fmax##SUFFIX(fabs##SUFFIX(c), fabs##SUFFIX(d))); \
	if (isfinite(power)) { \
		scale = (int)power; \
		c = scalbn##SUFFIX(c, -scale), d = scalbn##SUFFIX(d, -scale); \
	} \
	REAL square = c * c + d * d; \
	REAL x = scalbn##SUFFIX((a * c + b * d) / square, -scale); \
	REAL y = scalbn##SUFFIX((b * c - a * d) / square, -scale); \
	if (isnan(x) && isnan(y)) { \
		if (square == 0 && (!isnan(a) || !isnan(b))) { \
			x = copysign##SUFFIX(INFINITY, c) * a, y = copysign##SUFFIX(INFINITY, c) * b; \
		} else if ((isinf(a) || isinf(b)) && isfinite(c) && isfinite(d)) { \
			a = copysign##SUFFIX(INFINITE(a), a), b = copysign##SUFFIX(INFINITE(b), b); \
			x = INFINITY * (a * c + b * d), y = INFINITY * (b * c - a * d); \
		} else if (isinf(power) && power > 0 && isfinite(a) && isfinite(b)) { \
			c = copysign##SUFFIX(INFINITE(c), c), d = copysign##SUFFIX(INFINITE(d), d); \
			x = 0 * (a * c + b * d), y = 0 * (b * c - a * d); \
		} \
	} \
	return __builtin_complex(x, y); \
}

ARITHMETIC(float, f, __mulsc3, __divsc3)
ARITHMETIC(double, , __muldc3, __divdc3)
ARITHMETIC(long double, l, __multc3, __divtc3)
