// How fast the file can be read by nothing but reads: what the demo holds its own reading against.
#pragma once

#include <cstdint>
#include <string>

namespace cubby_cli::demo {

/// Bytes per second of O_DIRECT reads of 2 MiB at random places, eight at a time. 0 when the file
/// cannot be read so.
double bare_bytes_per_s(const std::string &path, uint64_t file_bytes, uint64_t read_bytes);

}  // namespace cubby_cli::demo
