#include "cli/opened_model.hpp"

namespace cubby_cli {

cubby_adopt_desc model_choice::desc() const {
  cubby_adopt_desc made = {};
  made.struct_size = sizeof made;
  made.tensors = tensors.empty() ? nullptr : tensors.c_str();
  made.kind = table ? uint32_t{CUBBY_BANK_ROWS} : 0;
  made.seal_path = seal_path.empty() ? nullptr : seal_path.c_str();
  return made;
}

void model_choice::add_options(command &to, const std::string &seal) {
  to.option("file", file, "A GGUF or safetensors file, an index.json or a folder of safetensors")
      .required()
      .not_empty();
  to.option("--tensors", tensors, "Pattern of tensor names to take instead of the experts")
      .not_empty();
  to.flag("--table", table, "The tensor that --tensors names is a table of rows");
  to.option("--seal-path", seal_path, seal).not_empty();
}

cubby::result<opened_model> open_model(const model_choice &which,
                                       const cubby::runtime_options &how) {
  auto runtime = cubby::runtime::open(how);
  if (!runtime) return runtime.why();
  const cubby_adopt_desc desc = which.desc();
  auto bank = runtime->adopt(which.file.c_str(), &desc);
  if (!bank) return bank.why();
  return opened_model{std::move(*runtime), *bank};
}

}  // namespace cubby_cli
