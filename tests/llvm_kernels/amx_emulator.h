// The few instructions of AMX that our kernels contain, for processors that lack them.
#pragma once

#if defined(__x86_64__) && defined(__linux__)

namespace treadle::testing {

// While it lives, LDTILECFG, TILELOADD, TILESTORED, TDPBF16PS and TILERELEASE are carried
// out by the handler of the signal that the processor raises at an instruction that it does
// not know. One at a time, on one thread. Any other such instruction ends the process.
class AmxEmulator {
 public:
  AmxEmulator();
  ~AmxEmulator();
  AmxEmulator(const AmxEmulator&) = delete;
  AmxEmulator& operator=(const AmxEmulator&) = delete;
  // Instructions since it began.
  long executed() const;
  // Are the registers in use, i.e. not given back?
  bool configured() const;
};

}  // namespace treadle::testing

#endif
