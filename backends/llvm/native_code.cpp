#include "backends/llvm/native_code.h"

#include <dlfcn.h>
#include <sys/mman.h>

#include <cstring>

#include "ir/diagnostic.h"
#include "ir/memory.h"

namespace treadle {

NativeCode::NativeCode(const CodeImage& image) : size_(image.bytes.size()) {
  void* memory = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) no_memory(size_, "compiled code");
  start_ = static_cast<std::byte*>(memory);
  std::memcpy(start_, image.bytes.data(), size_);
  for (const CodeImage::Import& import : image.imports) {
    void* function = ::dlsym(RTLD_DEFAULT, import.name.c_str());
    ensure(function != nullptr && import.at + sizeof function <= size_, "native code",
           "there is no function " + import.name);
    std::memcpy(start_ + import.at, &function, sizeof function);
  }
  if (::mprotect(start_, size_, PROT_READ | PROT_EXEC) != 0) {
    ::munmap(start_, size_);
    internal_error("native code", "this system lets no program run code that it has made");
  }
  char* bytes = reinterpret_cast<char*>(start_);
  __builtin___clear_cache(bytes, bytes + size_);
}

NativeCode::~NativeCode() { ::munmap(start_, size_); }

}  // namespace treadle
