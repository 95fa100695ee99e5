#include "cli/model/make_model.hpp"

#include <csignal>
#include <vector>

#include "cli/interrupts.hpp"
#include "cli/model/gguf_writer.hpp"
#include "cli/model/new_file.hpp"
#include "cli/model/vocabulary.hpp"
#include "cli/model/weights.hpp"

namespace cubby_cli::model {
namespace {

constexpr uint64_t piece_bytes = 4 << 20;
constexpr char model_name[] = "cubby random mixture of experts";

bool is_made_model(std::string_view begin, uint64_t /*bytes*/) {
  return begin.starts_with("GGUF") && begin.find(model_name) != std::string_view::npos;
}

/// An interrupt ends the work at the next piece, so that the temporary file is removed.
volatile std::sig_atomic_t interrupted = 0;

/// A file that outgrows its limit is an error of the write, not the end of the process.
class outgrown_guard {
 public:
  outgrown_guard() {
    struct sigaction action = {};
    action.sa_handler = SIG_IGN;
    sigaction(SIGXFSZ, &action, &before_);
  }
  ~outgrown_guard() { sigaction(SIGXFSZ, &before_, nullptr); }
  outgrown_guard(const outgrown_guard &) = delete;
  outgrown_guard &operator=(const outgrown_guard &) = delete;

 private:
  struct sigaction before_ = {};
};

/// As llama.cpp numbers what most of a file is.
uint32_t file_type_of(weight_type type) {
  return type == weight_type::q8_0    ? 7
         : type == weight_type::bf16  ? 32
         : type == weight_type::mxfp4 ? 38
                                      : 2;
}

gguf_header metadata_of(const geometry &shape, const vocabulary &words) {
  const std::string arch = "qwen3moe.";
  gguf_header header;
  header.text("general.architecture", "qwen3moe");
  header.text("general.name", model_name);
  header.number("general.quantization_version", 2);
  header.number("general.file_type", file_type_of(shape.type));
  header.number(arch + "block_count", shape.layers);
  header.number(arch + "context_length", 4096);
  header.number(arch + "embedding_length", shape.hidden);
  header.number(arch + "feed_forward_length", shape.ffn);
  header.number(arch + "attention.head_count", shape.heads());
  header.number(arch + "attention.head_count_kv", shape.key_value_heads());
  header.number(arch + "attention.key_length", shape.head_width());
  header.number(arch + "attention.value_length", shape.head_width());
  header.real(arch + "attention.layer_norm_rms_epsilon", 1e-6f);
  header.real(arch + "rope.freq_base", 1000000.0f);
  header.number(arch + "expert_count", shape.experts);
  header.number(arch + "expert_used_count", shape.top_k);
  header.number(arch + "expert_feed_forward_length", shape.ffn);
  header.text("tokenizer.ggml.model", "gpt2");
  header.text("tokenizer.ggml.pre", "qwen2");
  header.texts("tokenizer.ggml.tokens", words.tokens);
  header.numbers("tokenizer.ggml.token_type", words.types);
  header.texts("tokenizer.ggml.merges", words.merges);
  header.number("tokenizer.ggml.bos_token_id", words.end_of_text);
  header.number("tokenizer.ggml.eos_token_id", words.end_of_turn);
  header.number("tokenizer.ggml.padding_token_id", words.end_of_text);
  header.flag("tokenizer.ggml.add_bos_token", false);
  return header;
}

struct plan {
  std::string header;
  std::vector<tensor> tensors;
  uint64_t bytes = 0;
};

plan plan_of(const geometry &shape) {
  const vocabulary words = small_vocabulary();
  plan made;
  made.tensors = tensors_of(shape, static_cast<uint32_t>(words.tokens.size()));
  made.header = metadata_of(shape, words).finish(made.tensors);
  made.bytes = made.header.size();
  for (const tensor &one : made.tensors) made.bytes += gguf_header::aligned(one.bytes());
  return made;
}

/// One tensor, and the zeroes up to the next.
done write_tensor(const tensor &one, weight_stream numbers, new_file &out,
                  std::vector<std::byte> &buffer) {
  const uint64_t step = piece_bytes / numbers.unit_bytes() * numbers.unit_bytes();
  for (uint64_t at = 0; at < one.bytes(); at += step) {
    if (interrupted != 0) return trouble{"interrupted; nothing was left behind", exit_bad};
    const uint64_t count = std::min(step, one.bytes() - at);
    const std::span<std::byte> piece(buffer.data(), count);
    numbers.fill(piece);
    if (auto good = out.write(piece); !good) return good;
  }
  const std::byte zeroes[gguf_header::align_bytes] = {};
  return out.write({zeroes, gguf_header::aligned(one.bytes()) - one.bytes()});
}

}  // namespace

uint64_t file_bytes(const geometry &shape) { return plan_of(shape).bytes; }

outcome<made_model> make_model(const geometry &shape, const std::string &path, bool quiet) {
  const uint64_t start_ns = clock_ns();
  const plan work = plan_of(shape);
  interrupted = 0;
  const interrupt_guard interrupts([](int) { interrupted = 1; });
  const outgrown_guard outgrown;
  progress_line line(quiet);
  new_file out(is_made_model);
  if (auto good = out.open(path, work.bytes); !good) return good.failure();
  if (auto good = out.write(std::as_bytes(std::span(work.header))); !good) return good.failure();
  made_model made;
  made.tensor_count = work.tensors.size();
  uint64_t written_bytes = work.header.size();
  std::vector<std::byte> buffer(piece_bytes);
  for (uint64_t index = 0; index < work.tensors.size(); index++) {
    const tensor &one = work.tensors[index];
    auto good = write_tensor(one, weight_stream(one, shape.seed, index), out, buffer);
    if (!good) return good.failure();
    written_bytes += gguf_header::aligned(one.bytes());
    if (one.shape.size() == 3) made.expert_bytes += one.bytes();
    if (line.due())
      line.show("making " + path + ": " + bytes_text(written_bytes) + " of " +
                bytes_text(work.bytes) + ", " +
                speed_text(static_cast<double>(written_bytes) / seconds_since(start_ns)));
  }
  if (auto good = out.publish(); !good) return good.failure();
  made.bytes = work.bytes;
  made.seconds = seconds_since(start_ns);
  return made;
}

}  // namespace cubby_cli::model
