// One token after another with libllama, timed: what the figures of bench/results are made with.
// Prints one JSON object. Tokens follow from the number of the step alone, so runs are alike.
//
//   decode_speed MODEL [--prompt N] [--warm N] [--tokens N] [--threads N] [--willneed]
//                [--embeddings FILE] [--live]
//
// --live: a line of JSON after each token, before the object.
// --prompt: so many tokens in one batch, timed apart, before the others.
// --embeddings: float32 rows in place of tokens, as bench/llama_routes.py makes them.
// --willneed: the simplest helper that people write. The routed experts of each layer are asked for
// with madvise(WILLNEED) over llama.cpp's own mapping before they are multiplied with.
#include <ggml-backend.h>
#include <llama.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <vector>

namespace {

struct options {
  std::string model, embeddings;
  int prompt = 0, warm = 16, tokens = 32, threads = 1;
  bool willneed = false, live = false;
};

bool read_options(int argc, char **argv, options &chosen) {
  if (argc < 2) return false;
  chosen.model = argv[1];
  for (int i = 2; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--willneed") {
      chosen.willneed = true;
      continue;
    }
    if (name == "--live") {
      chosen.live = true;
      continue;
    }
    if (i + 1 >= argc) return false;
    if (name == "--embeddings") {
      chosen.embeddings = argv[++i];
      continue;
    }
    const int value = std::atoi(argv[++i]);
    if (value < 1) return false;
    if (name == "--prompt")
      chosen.prompt = value;
    else if (name == "--warm")
      chosen.warm = value;
    else if (name == "--tokens")
      chosen.tokens = value;
    else if (name == "--threads")
      chosen.threads = value;
    else
      return false;
  }
  return true;
}

/// What `cb_eval` sees of a layer: the expert tensors, known after the first pass, and the ids.
class willneed_helper {
 public:
  static bool on_node(ggml_tensor *node, bool ask, void *self) {
    auto &helper = *static_cast<willneed_helper *>(self);
    if (ask) {
      helper.learn(*node);
      return std::strncmp(node->name, "ffn_moe_topk-", 13) == 0;
    }
    helper.advise(*node);
    return true;
  }

 private:
  static int layer_of(const char *name) {
    const char *digits = std::strpbrk(name, "0123456789");
    return digits == nullptr ? -1 : std::atoi(digits);
  }
  void learn(const ggml_tensor &node) {
    const ggml_tensor *weights = node.op == GGML_OP_MUL_MAT_ID ? node.src[0] : nullptr;
    if (weights == nullptr) return;
    auto &of_layer = tensors_[layer_of(weights->name)];
    if (std::find(of_layer.begin(), of_layer.end(), weights) == of_layer.end())
      of_layer.push_back(weights);
  }
  void advise(const ggml_tensor &ids) {
    for (int64_t token = 0; token < ids.ne[1]; ++token) {
      for (int64_t slot = 0; slot < ids.ne[0]; ++slot) {
        int32_t id = 0;
        std::memcpy(&id,
                    static_cast<const char *>(ids.data) + token * static_cast<int64_t>(ids.nb[1]) +
                        slot * static_cast<int64_t>(ids.nb[0]),
                    sizeof id);
        for (const ggml_tensor *weights : tensors_[layer_of(ids.name)]) ask_for(*weights, id);
      }
    }
  }
  static void ask_for(const ggml_tensor &weights, int32_t expert) {
    constexpr uintptr_t page = 4096;
    const auto first =
        reinterpret_cast<uintptr_t>(weights.data) + static_cast<uintptr_t>(expert) * weights.nb[2];
    const uintptr_t from = first / page * page;
    madvise(reinterpret_cast<void *>(from), first + weights.nb[2] - from, MADV_WILLNEED);
  }

  std::map<int, std::vector<const ggml_tensor *>> tensors_;
};

void quiet(ggml_log_level level, const char *text, void *) {
  if (level >= GGML_LOG_LEVEL_ERROR) std::fputs(text, stderr);
}

double seconds_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Decodes one position after another.
class step {
 public:
  step(llama_context *context, const llama_model *model, const std::string &embeddings)
      : context_(context),
        vocabulary_(llama_vocab_n_tokens(llama_model_get_vocab(model))),
        row_(static_cast<size_t>(llama_model_n_embd(model))),
        file_(embeddings, std::ios::binary),
        has_embeddings_(!embeddings.empty()) {}

  /// The next `count` positions in one batch.
  bool operator()(int count) {
    const auto width = has_embeddings_ ? static_cast<int32_t>(row_.size()) : 0;
    llama_batch batch = llama_batch_init(count, width, 1);
    bool good = true;
    for (; good && batch.n_tokens < count; ++batch.n_tokens, ++position_)
      good = fill(batch, batch.n_tokens);
    good = good && llama_decode(context_, batch) == 0;
    llama_batch_free(batch);
    return good;
  }

 private:
  bool fill(llama_batch &batch, int at) {
    if (has_embeddings_) {
      file_.read(reinterpret_cast<char *>(row_.data()),
                 static_cast<std::streamsize>(row_.size() * sizeof(float)));
      if (!file_) {
        std::fprintf(stderr, "decode_speed: no embedding for token %d\n", position_);
        return false;
      }
      std::copy(row_.begin(), row_.end(), batch.embd + static_cast<size_t>(at) * row_.size());
    } else {
      batch.token[at] = static_cast<llama_token>((position_ * 7919LL + 13) % vocabulary_);
    }
    batch.pos[at] = position_;
    batch.n_seq_id[at] = 1;
    batch.seq_id[at][0] = 0;
    batch.logits[at] = 1;
    return true;
  }

  llama_context *context_;
  int vocabulary_;
  int position_ = 0;
  std::vector<float> row_;
  std::ifstream file_;
  bool has_embeddings_;
};

void show(int token, double since_start_s) {
  std::printf("{\"token\": %d, \"s\": %.3f}\n", token, since_start_s);
  std::fflush(stdout);
}

void report(const options &chosen, double load_s, double prompt_s, double first_s,
            std::vector<double> &each_s) {
  double all_s = 0;
  for (const double one : each_s) all_s += one;
  std::sort(each_s.begin(), each_s.end());
  rusage used = {};
  getrusage(RUSAGE_SELF, &used);
  std::printf(
      "{\"load_s\": %.3f, \"prompt_tokens\": %d, \"prompt_s\": %.3f, \"warm_s\": %.3f, \"tokens\": "
      "%d, \"tokens_per_s\": %.4f, "
      "\"token_p50_ms\": %.3f, \"major_faults\": %ld, \"peak_rss_bytes\": %ld, "
      "\"user_s\": %.2f, \"system_s\": %.2f}\n",
      load_s, chosen.prompt, prompt_s, first_s, chosen.tokens, chosen.tokens / all_s,
      1e3 * each_s[each_s.size() / 2], used.ru_majflt, used.ru_maxrss * 1024,
      static_cast<double>(used.ru_utime.tv_sec) + 1e-6 * static_cast<double>(used.ru_utime.tv_usec),
      static_cast<double>(used.ru_stime.tv_sec) +
          1e-6 * static_cast<double>(used.ru_stime.tv_usec));
}

}  // namespace

int main(int argc, char **argv) {
  options chosen;
  if (!read_options(argc, argv, chosen)) {
    std::fprintf(
        stderr,
        "usage: decode_speed MODEL [--prompt N] [--warm N] [--tokens N] [--threads N] [--willneed]"
        " [--embeddings FILE] [--live]\n");
    return 2;
  }
  llama_log_set(quiet, nullptr);
  ggml_backend_load_all();
  const double start_s = seconds_now();
  llama_model_params how = llama_model_default_params();
  how.use_extra_bufts = false;  // repacked experts would be a copy in memory
  llama_model *model = llama_model_load_from_file(chosen.model.c_str(), how);
  if (model == nullptr) return 1;
  willneed_helper helper;
  llama_context_params context_how = llama_context_default_params();
  context_how.n_ctx = static_cast<uint32_t>(chosen.prompt + chosen.warm + chosen.tokens + 64);
  context_how.n_batch = context_how.n_ubatch = static_cast<uint32_t>(std::max(chosen.prompt, 512));
  context_how.n_threads = context_how.n_threads_batch = chosen.threads;
  if (chosen.willneed) {
    context_how.cb_eval = willneed_helper::on_node;
    context_how.cb_eval_user_data = &helper;
  }
  llama_context *context = llama_init_from_model(model, context_how);
  if (context == nullptr) return 1;
  step decode(context, model, chosen.embeddings);
  const double loaded_s = seconds_now();
  if (chosen.prompt > 0 && !decode(chosen.prompt)) return 1;
  const double prompt_s = seconds_now();
  for (int i = 0; i < chosen.warm; ++i) {
    if (!decode(1)) return 1;
    if (chosen.live) show(i + 1, seconds_now() - start_s);
  }
  const double warm_s = seconds_now();
  std::vector<double> each_s;
  for (int i = 0; i < chosen.tokens; ++i) {
    const double from_s = seconds_now();
    if (!decode(1)) return 1;
    each_s.push_back(seconds_now() - from_s);
    if (chosen.live) show(chosen.warm + i + 1, seconds_now() - start_s);
  }
  report(chosen, loaded_s - start_s, prompt_s - loaded_s, warm_s - prompt_s, each_s);
  llama_free(context);
  llama_model_free(model);
  return 0;
}
