// Decodes prompts with libllama and writes every logit, so that two runs can be compared to the
// bit. Exit status 0 = all decoded, 3 = a decode failed (the index is printed), 2 = usage.
//
//   logits MODEL OUT [--batch N] [--sequences N] [--prompt N] [--tokens N] [--threads N]
//          [--after-failure] [--repack] [--contexts N]
//
// Contexts decode the same at the same time, each on a thread; the second writes OUT.1, and so on.
#include <ggml-backend.h>
#include <llama.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

namespace {

struct options {
  std::string model, out;
  int batch = 1, sequences = 1, prompt = 24, tokens = 16, threads = 1, contexts = 1;
  bool after_failure = false;  // go on with the next batch
  bool repack = false;         // as llama.cpp does by default: weights in a layout of its own
};

bool read_options(int argc, char **argv, options &chosen) {
  if (argc < 3) return false;
  chosen.model = argv[1];
  chosen.out = argv[2];
  for (int i = 3; i < argc; ++i) {
    const std::string name = argv[i];
    if (name == "--after-failure") {
      chosen.after_failure = true;
      continue;
    }
    if (name == "--repack") {
      chosen.repack = true;
      continue;
    }
    if (i + 1 >= argc) return false;
    const int value = std::atoi(argv[++i]);
    if (value < 1) return false;
    if (name == "--batch")
      chosen.batch = value;
    else if (name == "--sequences")
      chosen.sequences = value;
    else if (name == "--prompt")
      chosen.prompt = value;
    else if (name == "--tokens")
      chosen.tokens = value;
    else if (name == "--threads")
      chosen.threads = value;
    else if (name == "--contexts")
      chosen.contexts = value;
    else
      return false;
  }
  return true;
}

void quiet(ggml_log_level level, const char *text, void *) {
  if (level >= GGML_LOG_LEVEL_WARN) std::fputs(text, stderr);
}

class decoder {
 public:
  decoder(llama_context *context, const options &chosen, int vocabulary, const std::string &out)
      : context_(context), chosen_(chosen), vocabulary_(vocabulary), out_(out, std::ios::binary) {}
  const std::string &statuses() const { return statuses_; }

  bool run() {
    std::vector<int> at(static_cast<size_t>(chosen_.sequences), 0);
    const int all = chosen_.prompt + chosen_.tokens;
    for (bool more = true; more;) {
      more = false;
      llama_batch batch = llama_batch_init(chosen_.batch, 0, 1);
      for (int s = 0; s < chosen_.sequences; ++s) {
        int &position = at[static_cast<size_t>(s)];
        const int share = std::max(1, chosen_.batch / chosen_.sequences);
        const int end = position < chosen_.prompt ? std::min(chosen_.prompt, position + share)
                                                  : std::min(all, position + 1);
        for (; position < end && batch.n_tokens < chosen_.batch; ++position)
          add(batch, position, s);
        more = more || position < all;
      }
      const bool good = batch.n_tokens == 0 || decode(batch);
      llama_batch_free(batch);
      if (!good && !chosen_.after_failure) return false;
    }
    return failed_ == 0;
  }

 private:
  void add(llama_batch &batch, int position, int sequence) {
    const int i = batch.n_tokens++;
    batch.token[i] = (position * 7919 + sequence * 104729 + 13) % vocabulary_;
    batch.pos[i] = position;
    batch.n_seq_id[i] = 1;
    batch.seq_id[i][0] = sequence;
    batch.logits[i] = 1;
  }

  bool decode(const llama_batch &batch) {
    const int status = llama_decode(context_, batch);
    statuses_ += std::to_string(status) + " ";
    if (status != 0) {
      ++failed_;
      return false;
    }
    for (int i = 0; i < batch.n_tokens; ++i)
      out_.write(reinterpret_cast<const char *>(llama_get_logits_ith(context_, i)),
                 static_cast<std::streamsize>(sizeof(float)) * vocabulary_);
    return static_cast<bool>(out_);
  }

  llama_context *context_;
  const options &chosen_;
  int vocabulary_;
  std::ofstream out_;
  int failed_ = 0;
  std::string statuses_;
};

llama_context *make_context(llama_model *model, const options &chosen) {
  llama_context_params how = llama_context_default_params();
  how.n_ctx = static_cast<uint32_t>((chosen.prompt + chosen.tokens) * chosen.sequences + 64);
  how.n_batch = how.n_ubatch = static_cast<uint32_t>(std::max(chosen.batch, 32));
  how.n_seq_max = static_cast<uint32_t>(chosen.sequences);
  how.n_threads = how.n_threads_batch = chosen.threads;
  return llama_init_from_model(model, how);
}

/// Exit status of all contexts together.
int run_contexts(llama_model *model, const options &chosen) {
  const int vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
  std::vector<llama_context *> contexts;
  std::vector<std::unique_ptr<decoder>> decoders;
  for (int i = 0; i < chosen.contexts; ++i) {
    contexts.push_back(make_context(model, chosen));
    if (contexts.back() == nullptr) return 1;
    const std::string out = i == 0 ? chosen.out : chosen.out + "." + std::to_string(i);
    decoders.push_back(std::make_unique<decoder>(contexts.back(), chosen, vocabulary, out));
  }
  std::vector<std::thread> threads;
  std::atomic<bool> good = true;
  for (const auto &one : decoders)
    threads.emplace_back([&good, &one] {
      if (!one->run()) good = false;
    });
  for (std::thread &one : threads) one.join();
  for (const auto &one : decoders) std::printf("statuses %s\n", one->statuses().c_str());
  decoders.clear();
  for (llama_context *one : contexts) llama_free(one);
  return good ? 0 : 3;
}

}  // namespace

int main(int argc, char **argv) {
  options chosen;
  if (!read_options(argc, argv, chosen)) {
    std::fprintf(stderr,
                 "usage: logits MODEL OUT [--batch N] [--sequences N] [--prompt N] [--tokens N]"
                 " [--threads N] [--contexts N] [--after-failure] [--repack]\n");
    return 2;
  }
  llama_log_set(quiet, nullptr);
  ggml_backend_load_all();
  llama_model_params how = llama_model_default_params();
  how.use_extra_bufts = chosen.repack;
  llama_model *model = llama_model_load_from_file(chosen.model.c_str(), how);
  if (model == nullptr) return 1;
  const int status = run_contexts(model, chosen);
  llama_model_free(model);
  return status;
}
