#include "cli/replay/formats/bytes.hpp"

#include <lzma.h>
#include <sys/stat.h>
#include <zstd.h>
#include <zstd_errors.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace cubby_cli::replay {
namespace {

constexpr size_t piece_bytes = size_t{1} << 16;
constexpr uint64_t decoder_bytes_max = uint64_t{256} << 20;
constexpr int window_log_max = 28;  // as much for zstd
// Traces pack ten to fifty times. What grows far more is made to fill memory.
constexpr uint64_t free_bytes = uint64_t{64} << 20, growth_max = 1000;

}  // namespace

byte_source::byte_source(const std::string &path, bool packed)
    : in_(path, std::ios::binary), raw_(piece_bytes), packed_(packed) {
  struct stat seen = {};
  if (!in_.good()) {
    trouble_ = std::string("cannot be opened: ") + std::strerror(errno);
  } else if (stat(path.c_str(), &seen) == 0 && S_ISDIR(seen.st_mode)) {
    trouble_ = "is a folder; name a file in it";
  }
}

bool byte_source::more(std::string &text) {
  const size_t before = text.size();
  if (!trouble_.empty() || !unpack(text)) return false;
  unpacked_ += text.size() - before;
  if (packed_ && unpacked_ > free_bytes && unpacked_ / growth_max > raw_from_)
    fail("unpacks to more than " + std::to_string(growth_max) +
         " times its size, which no trace does; unpack it yourself if you trust it,");
  return trouble_.empty();
}

bool byte_source::unpack(std::string &text) {
  if (!read_raw()) return false;
  text.append(raw_.data(), raw_bytes_);
  return true;
}

bool byte_source::read_raw() {
  if (!in_.good()) return false;
  in_.read(raw_.data(), static_cast<std::streamsize>(raw_.size()));
  raw_bytes_ = static_cast<size_t>(in_.gcount());
  raw_from_ += raw_bytes_;
  if (in_.bad()) trouble_ = "cannot be read on after byte " + std::to_string(raw_from_);
  return raw_bytes_ > 0;
}

void byte_source::fail(const std::string &what) {
  trouble_ = what + " near byte " + std::to_string(raw_from_) + " of the packed file";
}

namespace {

class xz_source final : public byte_source {
 public:
  explicit xz_source(const std::string &path) : byte_source(path, true) {
    if (lzma_stream_decoder(&stream_, decoder_bytes_max, LZMA_CONCATENATED) != LZMA_OK)
      trouble_ = "cannot be unpacked: no memory for it";
  }
  ~xz_source() override { lzma_end(&stream_); }

  bool unpack(std::string &text) override {
    std::array<char, piece_bytes> out;
    stream_.next_out = reinterpret_cast<uint8_t *>(out.data());
    stream_.avail_out = out.size();
    while (!ended_ && trouble_.empty() && stream_.avail_out == out.size()) {
      if (stream_.avail_in == 0 && read_raw()) {
        stream_.next_in = reinterpret_cast<const uint8_t *>(raw_.data());
        stream_.avail_in = raw_bytes_;
      }
      const lzma_ret did = lzma_code(&stream_, in_.good() ? LZMA_RUN : LZMA_FINISH);
      ended_ = did == LZMA_STREAM_END;
      if (did == LZMA_BUF_ERROR) {
        fail("the xz data end too early,");
      } else if (did == LZMA_MEMLIMIT_ERROR) {
        fail("the xz data need more than 256 MiB to unpack,");
      } else if (did != LZMA_OK && !ended_) {
        fail("the xz data are damaged");
      }
    }
    text.append(out.data(), out.size() - stream_.avail_out);
    return stream_.avail_out != out.size();
  }

 private:
  lzma_stream stream_ = LZMA_STREAM_INIT;
  bool ended_ = false;
};

class zstd_source final : public byte_source {
 public:
  explicit zstd_source(const std::string &path)
      : byte_source(path, true), stream_(ZSTD_createDCtx()) {
    if (stream_ == nullptr)
      trouble_ = "cannot be unpacked: no memory for it";
    else
      ZSTD_DCtx_setParameter(stream_, ZSTD_d_windowLogMax, window_log_max);
  }
  ~zstd_source() override { ZSTD_freeDCtx(stream_); }

  bool unpack(std::string &text) override {
    std::array<char, piece_bytes> block;
    ZSTD_outBuffer out = {block.data(), block.size(), 0};
    while (trouble_.empty() && out.pos == 0) {
      if (in_buffer_.pos == in_buffer_.size) {
        if (!read_raw()) {
          if (open_frame_) fail("the zstd data end too early,");
          break;
        }
        in_buffer_ = {raw_.data(), raw_bytes_, 0};
      }
      const size_t did = ZSTD_decompressStream(stream_, &out, &in_buffer_);
      if (ZSTD_getErrorCode(did) == ZSTD_error_frameParameter_windowTooLarge) {
        fail("the zstd data need more than 256 MiB to unpack,");
      } else if (ZSTD_isError(did) != 0) {
        fail("the zstd data are damaged");
      }
      open_frame_ = did != 0;
    }
    text.append(block.data(), out.pos);
    return out.pos != 0;
  }

 private:
  ZSTD_DCtx *stream_;
  ZSTD_inBuffer in_buffer_ = {nullptr, 0, 0};
  bool open_frame_ = false;
};

}  // namespace

std::unique_ptr<byte_source> open_bytes(const std::string &path) {
  if (path.ends_with(".xz")) return std::make_unique<xz_source>(path);
  if (path.ends_with(".zst")) return std::make_unique<zstd_source>(path);
  return std::make_unique<byte_source>(path, false);
}

}  // namespace cubby_cli::replay
