// Machine code in executable memory.
#pragma once
#include <cstddef>
#include <cstdint>

#include "backends/llvm/compiled_program.h"

namespace treadle {

// A copy of an image. T0986: no memory.
class NativeCode {
 public:
  explicit NativeCode(const CodeImage& image);
  ~NativeCode();
  NativeCode(const NativeCode&) = delete;
  NativeCode& operator=(const NativeCode&) = delete;

  // What stands so many bytes behind the start.
  template <typename Function>
  Function* function(std::uint64_t offset) const {
    return reinterpret_cast<Function*>(start_ + offset);
  }

 private:
  std::byte* start_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace treadle
