#include "cli/replay/lines.hpp"

#include <lzma.h>
#include <zstd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <vector>

namespace cubby_cli::replay {
namespace {

constexpr size_t line_bytes_max = size_t{256} << 20;
constexpr size_t block_bytes = size_t{1} << 16;
constexpr uint64_t decoder_bytes_max = uint64_t{256} << 20;

}  // namespace

/// Gives a file's bytes, unpacked.
class byte_source {
 public:
  explicit byte_source(const std::string &path) : in_(path, std::ios::binary), raw_(block_bytes) {
    if (!in_.good()) trouble_ = std::string("cannot be opened: ") + std::strerror(errno);
  }
  virtual ~byte_source() = default;
  byte_source(const byte_source &) = delete;
  byte_source &operator=(const byte_source &) = delete;

  /// Adds some bytes to the text; false at the end or on trouble.
  virtual bool more(std::string &text) {
    if (!read_raw()) return false;
    text.append(raw_.data(), raw_bytes_);
    return true;
  }
  [[nodiscard]] const std::string &trouble() const { return trouble_; }

 protected:
  bool read_raw() {
    if (!in_.good()) return false;
    in_.read(raw_.data(), static_cast<std::streamsize>(raw_.size()));
    raw_bytes_ = static_cast<size_t>(in_.gcount());
    raw_from_ += raw_bytes_;
    if (in_.bad()) trouble_ = "cannot be read on after byte " + std::to_string(raw_from_);
    return raw_bytes_ > 0;
  }
  void fail(const std::string &what) {
    trouble_ = what + " near byte " + std::to_string(raw_from_) + " of the packed file";
  }

  std::ifstream in_;
  std::vector<char> raw_;
  size_t raw_bytes_ = 0;
  uint64_t raw_from_ = 0;  // bytes read so far
  std::string trouble_;
};

namespace {

class xz_source final : public byte_source {
 public:
  explicit xz_source(const std::string &path) : byte_source(path) {
    if (lzma_stream_decoder(&stream_, decoder_bytes_max, LZMA_CONCATENATED) != LZMA_OK)
      trouble_ = "cannot be unpacked: no memory for it";
  }
  ~xz_source() override { lzma_end(&stream_); }

  bool more(std::string &text) override {
    std::array<char, block_bytes> out;
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
  explicit zstd_source(const std::string &path) : byte_source(path), stream_(ZSTD_createDCtx()) {
    if (stream_ == nullptr) trouble_ = "cannot be unpacked: no memory for it";
  }
  ~zstd_source() override { ZSTD_freeDCtx(stream_); }

  bool more(std::string &text) override {
    std::array<char, block_bytes> block;
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
      if (ZSTD_isError(did) != 0) fail("the zstd data are damaged");
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

std::unique_ptr<byte_source> open_source(const std::string &path) {
  if (path.ends_with(".xz")) return std::make_unique<xz_source>(path);
  if (path.ends_with(".zst")) return std::make_unique<zstd_source>(path);
  return std::make_unique<byte_source>(path);
}

}  // namespace

line_reader::line_reader(const std::string &path) : source_(open_source(path)) {
  trouble_ = source_->trouble();
}

line_reader::~line_reader() = default;

bool line_reader::next(std::string &line) {
  size_t looked = at_;
  while (trouble_.empty()) {
    const size_t end = text_.find('\n', looked);
    if (end != std::string::npos) {
      line.assign(text_, at_, end - at_);
      at_ = end + 1;
      ++line_number_;
      return true;
    }
    text_.erase(0, at_);
    at_ = 0;
    looked = text_.size();
    if (looked > line_bytes_max) {
      trouble_ = "line " + std::to_string(line_number_ + 1) + " is longer than 256 MiB";
      return false;
    }
    if (ended_) break;
    ended_ = !source_->more(text_);
    if (ended_) trouble_ = source_->trouble();
  }
  if (!trouble_.empty() || text_.empty()) return false;
  line = std::move(text_);
  text_.clear();
  ++line_number_;
  return true;
}

}  // namespace cubby_cli::replay
