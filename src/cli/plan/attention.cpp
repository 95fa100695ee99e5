#include "cli/plan/attention.hpp"

#include <algorithm>
#include <iterator>

namespace cubby_cli::plan {
namespace {

constexpr const char *format_names[] = {"bf16", "fp8", "6bit", "fp4"};

/// Elements with their scales; rotary parts apart.
double plain_bytes(double elements, kv_format format) {
  switch (format) {
    case kv_format::bf16:
      return 2 * elements;
    case kv_format::fp8:
      return elements;
    case kv_format::bits6:
      return 0.75 * elements;
    default:
      return 0.5625 * elements;  // NVFP4: a scale of 8 bits for 16 elements
  }
}

/// Entries that a group keeps beside its window.
double entries(const layer_group &group, double context) {
  return group.all_tokens ? context / group.ratio : 0;
}

double read_entries(const layer_group &group, double context) {
  const double there = entries(group, context);
  return group.index_top == 0 ? there : std::min(there, static_cast<double>(group.index_top));
}

double in_window(const layer_group &group, double context) {
  return std::min(context, static_cast<double>(group.window));
}

/// Elements of a key and a value that a query multiplies with. A token of an answer attends to the
/// latents themselves, with its projections absorbed; so do prompts where an indexer chooses what
/// is read. Other prompts make keys and values of the latents first, which is counted with the
/// weights.
double key_and_value(const model_shape &of, const layer_group &group, bool prompt) {
  if (of.kind != attention::latent) return double{1} * of.head_dim + of.value_size();
  const bool absorbed = !prompt || group.index_top > 0;
  return absorbed ? 2.0 * of.latent_rank + of.rope_dim
                  : double{1} * of.head_dim + of.rope_dim + of.value_size();
}

/// A multiplication and an addition for each element of a key, and of a value.
double flops_of_attention(const model_shape &of, double context, bool prompt) {
  double sum = 0;
  for (const layer_group &group : of.groups) {
    const double attended = read_entries(group, context) + in_window(group, context);
    const double indexed = entries(group, context) * group.index_heads * group.index_dim;
    sum += group.count * 2 * (of.q_heads * key_and_value(of, group, prompt) * attended + indexed);
  }
  return sum;
}

}  // namespace

const char *name_of(kv_format format) { return format_names[static_cast<size_t>(format)]; }

std::optional<kv_format> kv_format_named(const std::string &name) {
  for (size_t i = 0; i < std::size(format_names); i++)
    if (name == format_names[i]) return static_cast<kv_format>(i);
  return std::nullopt;
}

double kv_entry_bytes(const model_shape &of, kv_format format) {
  const double rope = of.rope_dim;
  switch (of.kind) {
    case attention::heads:
      return plain_bytes(of.kv_heads * (double{1} * of.head_dim + of.value_size()), format);
    case attention::latent:
      // FlashMLA's: fp8 with an fp32 scale for 128 elements, the rotary key in bf16.
      if (format == kv_format::fp8) return of.latent_rank + of.latent_rank / 32.0 + 2 * rope;
      return plain_bytes(of.latent_rank + rope, format);
    default:
      // FlashMLA's MODEL1: fp8 with a scale byte for 64 elements and one of padding, rotary bf16.
      if (format == kv_format::fp8) {
        const double plain = of.head_dim - rope;
        return plain + plain / 64 + 1 + 2 * rope;
      }
      return plain_bytes(of.head_dim, format);
  }
}

double kv_index_bytes(const model_shape &of, const layer_group &group, kv_format format) {
  const double dim = group.index_dim;
  if (format == kv_format::bf16) return 2 * dim;
  // V3.2 keeps them in fp8 with an fp32 scale, V4 in MXFP4 with a scale byte for 32.
  return of.kind == attention::entry ? dim / 2 + dim / 32 : dim + (dim > 0 ? 4 : 0);
}

double kv_bytes(const model_shape &of, kv_format format, double context) {
  const double entry = kv_entry_bytes(of, format);
  double sum = 0;
  for (const layer_group &group : of.groups)
    sum += group.count * (entries(group, context) * (entry + kv_index_bytes(of, group, format)) +
                          in_window(group, context) * entry);
  return sum;
}

double kv_bytes_per_token(const model_shape &of, kv_format format) {
  const double entry = kv_entry_bytes(of, format);
  double sum = 0;
  for (const layer_group &group : of.groups)
    sum += group.count * entries(group, 1) * (entry + kv_index_bytes(of, group, format));
  return sum;
}

double kv_read_bytes(const model_shape &of, kv_format format, double context) {
  const double entry = kv_entry_bytes(of, format);
  double sum = 0;
  for (const layer_group &group : of.groups)
    sum += group.count * (entries(group, context) * kv_index_bytes(of, group, format) +
                          (read_entries(group, context) + in_window(group, context)) * entry);
  return sum;
}

double attention_flops(const model_shape &of, double context) {
  return flops_of_attention(of, context, false);
}

double decode_flops(const model_shape &of, double context) {
  return 2 * active_parameters(of) + attention_flops(of, context);
}

double prefill_flops(const model_shape &of, double from, double to) {
  // The output matrix is needed for the last token alone; attention is that of the middle token.
  const double each = 2 * (active_parameters(of) - embedding_parameters(of));
  return (to - from) * (each + flops_of_attention(of, (from + to) / 2, true));
}

}  // namespace cubby_cli::plan
