// Elements stored in a file under a type that may not be one of ours.
#pragma once
#include <cstdint>
#include <string_view>

#include "ir/tensor.h"

namespace treadle {

enum class StoredType : std::uint8_t { u8, i8, u16, i16, u32, i32, i64, f16, bf16, f32, f64, b1 };

std::size_t size_of(StoredType type);

// The element type that holds every value of `type`: itself where we have it,
// else f32 for f16, i32 for the narrow integers, i64 for u32.
DType widened(StoredType type);

// Decodes `bytes` (its length is exactly the tensor's) into out, converting to
// out's element type. `big_endian` swaps each element.
void decode_elements(std::string_view bytes, StoredType type, bool big_endian, Tensor& out);

}  // namespace treadle
