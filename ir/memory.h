// Asking for much memory.
#pragma once
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>

namespace treadle {

// Before `bytes` are taken for what() ("a tensor f32[4, 100000000]"): UserError
// T0986 with the sizes in MiB when this machine has less to give. Systems that
// grant more than they have would end the process when the memory is used.
void require_memory(std::size_t bytes, const std::function<std::string()>& what);

// The same error without asking, for an allocation that failed.
[[noreturn]] void no_memory(std::size_t bytes, std::string_view what);

}  // namespace treadle
