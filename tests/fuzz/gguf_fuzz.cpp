// A GGUF file of any bytes.
#include "fuzz/checks.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const fuzz::memory_file file(data, size);
  for (const char *tensors : {"", "*"}) {
    auto model = cubby::store::open_model(file.path(), tensors);
    if (model)
      fuzz::check_model(*model);
    else
      fuzz::check_refusal(model.failure());
  }
  return 0;
}
