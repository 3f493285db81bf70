/* stub_m.c -- the names that compiled code may want of libm, to link against; never loaded. */
#define BOTH(name)                                                                                           \
  void name(void) {}                                                                                         \
  void name##f(void) {}
BOTH(exp)
BOTH(log)
BOTH(sin)
BOTH(cos) BOTH(tan) BOTH(asin) BOTH(acos) BOTH(atan) BOTH(sinh) BOTH(cosh) BOTH(tanh) BOTH(asinh) BOTH(acosh)
    BOTH(atanh) BOTH(erf) BOTH(pow) BOTH(fmod) BOTH(fma) BOTH(floor) BOTH(ceil) BOTH(rint) BOTH(trunc)
        BOTH(sqrt)
