#include "cli/plan/presets/presets.hpp"

namespace cubby_cli::plan {
namespace {

using profile::tier;

constexpr double giga = 1e9, tera = 1e12;
constexpr double picojoule_per_bit = 8e-12;  // in joules a byte

// Read energies: the models of arXiv 2508.06978 (its code, 2025-08).
constexpr double hbm_joules = 4.2 * picojoule_per_bit;
constexpr double ddr_joules = 9.2 * picojoule_per_bit;
constexpr double ssd_joules = 102.4 * picojoule_per_bit;
constexpr const char *energy_source =
    "energy: arXiv 2508.06978 (HBM3 4.2, DDR5 9.2, NVMe 102.4 pJ/bit)";
// What products reach of the peak: GH200's HBM, 3.4 measured of 4.0 TB/s (KTH, 2024-07).
constexpr double of_peak = 0.85;

/// What a maker publishes of a place for bytes.
struct facts {
  std::string name, kind, place;
  double capacity_bytes = 0, read_bytes_per_s = 0, write_bytes_per_s = 0, latency_ns = 0;
  double joules_per_byte = 0, price_usd_per_gb = 0, endurance_write_bytes = 0;  // 0 = not known
  std::string source;
};

profile::number known(double value) { return value > 0 ? profile::number(value) : std::nullopt; }

tier tier_of(const facts &from) {
  tier made;
  made.name = from.name;
  made.kind = from.kind;
  made.place = from.place;
  made.capacity_bytes = from.capacity_bytes;
  made.read =
      profile::summary{from.read_bytes_per_s, from.latency_ns, 0, 0, known(from.joules_per_byte)};
  made.write = profile::summary{from.write_bytes_per_s, from.latency_ns, 0, 0, std::nullopt};
  made.price_usd_per_byte = known(from.price_usd_per_gb / giga);
  made.endurance_write_bytes = known(from.endurance_write_bytes);
  made.origin = "preset";
  made.source = from.source + "; " + energy_source;
  return made;
}

tier ddr(double gigabytes, double gigabytes_per_s, const std::string &what) {
  return tier_of({"host:0", "host", what, gigabytes * giga, gigabytes_per_s * giga,
                  gigabytes_per_s * giga, 100, ddr_joules, 13.8, 0,
                  what + ", maker's peak; DDR5 RDIMM contract price 12.8-14.8 $/GB (CFM, 2026Q1)"});
}

tier lpddr(double gigabytes, double gigabytes_per_s, double price, const std::string &what) {
  return tier_of({"host:0", "host", what, gigabytes * giga, gigabytes_per_s * giga,
                  gigabytes_per_s * giga, 120, 3.1 * picojoule_per_bit, price, 0,
                  what + ", peak; a third of an RDIMM's power (Micron SOCAMM2, 2026)"});
}

/// Micron 9550 MAX 12.8 TB: 14/10 GB/s, 60 µs, 70.08 PB of random writes.
tier gen5_drives(double count) {
  return tier_of({"nvme:0", "file", "NVMe Gen5 TLC", count * 12.8 * tera, count * 14 * giga,
                  count * 10 * giga, 60e3, ssd_joules, 0.70, count * 70080 * tera,
                  "Micron 9550 MAX 12.8 TB, data sheet 2024-07; 0.58-0.83 $/GB (2026-08)"});
}

tier desktop_drive() {
  return tier_of({"nvme:0", "file", "NVMe Gen4 TLC", 2 * tera, 7 * giga, 6 * giga, 80e3, ssd_joules,
                  0.20, 1200 * tera,
                  "class of Samsung 990 PRO 2 TB: 7.45/6.9 GB/s, 1,200 TBW (data sheet, 2022); "
                  "price assumed"});
}

profile::link link_of(const std::string &from, const std::string &to, double gigabytes_per_s,
                      double latency_ns, const std::string &source) {
  return {from, to, gigabytes_per_s * giga, latency_ns, "preset", source};
}

struct chip {
  std::string place, source;
  double gigabytes = 0, gigabytes_per_s = 0;  // of its memory, whose price is in its own
  double teraflops = 0;                       // dense bf16
  double watt = 0, price_usd = 0;
};

void put_chip(machine_preset &in, const chip &of, double count = 1) {
  in.what.tiers.push_back(
      tier_of({"device:0", "device", of.place, count * of.gigabytes * giga,
               count * of.gigabytes_per_s * giga, count * of.gigabytes_per_s * giga, 500,
               hbm_joules, 0, 0, of.source}));
  profile::compute &compute = in.what.compute.emplace();
  compute.place = of.place;
  compute.product_bytes_per_s = count * of_peak * of.gigabytes_per_s * giga;
  compute.flop_per_s = known(count * of.teraflops * tera);
  compute.watt = known(count * of.watt);
  compute.price_usd = known(count * of.price_usd);
  compute.origin = "preset";
  compute.source = of.source + "; products at 0.85 of the peak bandwidth, as measured on GH200";
}

quantity rented(double usd, const char *source) { return {usd, origin::preset, source}; }

// 70 W of an idle H100 with its HBM, 57 W of 256 GB of DDR5.
quantity idle_watt(double count = 1) {
  return {127 * count, origin::preset,
          "arXiv 2508.06978: 70 W of an H100 at rest, 57 W of 256 GB DDR5"};
}

constexpr const char *pcie5 =
    "PCIe 5.0 x16, alike in both directions: assumed to be the 52.8 GB/s from device to host of "
    "nvbandwidth on H100 (NVIDIA/nvbandwidth #24), where the SM's copies from host to device had "
    "35.2 and those of copy engines are not published";

machine_preset hopper(const char *name, const char *title, const chip &of, double usd_per_hour,
                      const char *rent) {
  machine_preset made;
  made.name = name;
  made.title = title;
  put_chip(made, of);
  made.what.tiers.push_back(ddr(256, 307.2, "Xeon, 8 channels of DDR5-4800"));
  made.what.tiers.push_back(gen5_drives(1));
  made.what.links = {link_of("host:0", "device:0", 52.8, 10e3, pcie5)};
  made.what.links.front().origin = "assumed";
  made.usd_per_hour = rented(usd_per_hour, rent);
  made.background_watt = idle_watt();
  return made;
}

const chip h100 = {"H100 SXM", "NVIDIA H100 SXM data sheet; price assumed", 80, 3350, 989.5, 700,
                   30000};
const chip h200 = {"H200 SXM", "NVIDIA H200 SXM data sheet; price assumed", 141, 4800, 989.5, 700,
                   35000};

machine_preset with_cxl() {
  machine_preset made = hopper("h100-cxl", "H100 SXM and a CXL memory expander", h100, 2.95,
                               "median of H100 rental prices, 2026-05");
  made.what.tiers.insert(
      made.what.tiers.begin() + 2,
      tier_of({"cxl:0", "remote", "CXL 2.0 module, PCIe 5.0 x8", 256 * giga, 36 * giga, 36 * giga,
               275, ddr_joules, 1.8, 0,
               "Micron CZ120 256 GB, 36 GB/s; 140-410 ns (Melody, ASPLOS 2025); 0.13 of DRAM's "
               "price with reused DDR4 (Meta Vistara, 2026)"}));
  made.what.links.push_back(link_of("cxl:0", "device:0", 36, 10e3, "through the host's PCIe"));
  return made;
}

machine_preset gb200() {
  machine_preset made;
  made.name = "gb200";
  made.title = "one GPU of a GB200 NVL72 and its share of Grace";
  put_chip(made,
           {"GB200",
            "MLPerf Inference 6.1 submission of GB200-NVL72 (186 GB); 8 TB/s; power and price "
            "assumed",
            186, 8000, 2500, 1200, 60000});
  made.what.tiers.push_back(lpddr(467, 243, 22.6, "Grace LPDDR5X, half of 486 GB/s by STREAM"));
  made.what.tiers.push_back(gen5_drives(1));
  made.what.links = {
      link_of("host:0", "device:0", 375, 2e3, "NVLink-C2C, host to device (KTH, 2024-07)")};
  made.usd_per_hour = rented(18, "GB300 at OCI, 2026-09, as the nearest one published");
  made.background_watt = idle_watt();
  return made;
}

/// Memory is LPDDR5X and NVMe: HBM4 is inside the GPUs' line of the bill.
machine_preset vera_rubin() {
  machine_preset made;
  made.name = "vr-nvl72";
  made.title = "Vera Rubin NVL72, the rack";
  put_chip(made,
           {"72 R200",
            "NVIDIA Vera Rubin announcements, 2026 (288 GB HBM4, 22 TB/s, 1.8 kW each); "
            "$55,000 a GPU by the rack's bill of materials (2026-06); 4 PFLOPS of bf16 assumed",
            288, 22000, 4000, 1800, 55000},
           72);
  made.what.tiers.push_back(
      lpddr(36 * 1500, 36 * 1200, 2001600 / 54000.0,
            "36 Vera CPUs of 1.5 TB LPDDR5X; $2,001,600 for it and NVMe in the rack's bill of "
            "materials (2026-06)"));
  made.what.tiers.push_back(tier_of(
      {"nvme:0", "file", "NVMe Gen6 TLC", 72 * 7.68 * tera, 72 * 28 * giga, 72 * 14 * giga, 60e3,
       ssd_joules, 0.70, 72 * 7.68 * tera * 365 * 5,
       "Micron 9650, 28/14 GB/s (2025-08), four to a tray of 18; size and 1 write a day assumed"}));
  made.what.links = {link_of("host:0", "device:0", 36 * 900 * of_peak, 2e3,
                             "NVLink-C2C of Vera, 900 GB/s a direction; 0.85 of it, as on GH200")};
  made.what.price_usd = 7803148;
  made.background_watt = idle_watt(72);
  return made;
}

machine_preset desktop() {
  machine_preset made;
  made.name = "desktop-24gb";
  made.title = "a desktop with a 24 GB card and one NVMe drive";
  put_chip(made, {"RTX 4090",
                  "NVIDIA Ada GPU architecture, 2022: 24 GB, 1,008 GB/s, 165 TFLOPS; "
                  "launch price",
                  24, 1008, 165.2, 450, 1599});
  made.what.tiers.push_back(ddr(64, 76, "two channels of DDR5-5600, 0.85 of 89.6 GB/s"));
  made.what.tiers.push_back(desktop_drive());
  made.what.links = {link_of("host:0", "device:0", 25, 10e3,
                             "PCIe 4.0 x16: 25 GB/s measured (ZaidQureshi/bam #54)")};
  made.background_watt = quantity{70, origin::assumed, "a desktop at rest; give --background-watt"};
  return made;
}

/// One memory for processor and GPU.
machine_preset apple() {
  machine_preset made;
  made.name = "apple-512gb";
  made.title = "an Apple M3 Ultra with 512 GB";
  made.what.tiers.push_back(lpddr(512, 819, 22.6, "M3 Ultra, Apple's specification, 2025-03"));
  made.what.tiers.push_back(
      tier_of({"ssd:0", "file", "internal SSD", 1 * tera, 6 * giga, 6 * giga, 100e3, ssd_joules,
               0.20, 600 * tera, "class of Apple's internal SSDs; endurance assumed"}));
  profile::compute &compute = made.what.compute.emplace();
  compute.place = "M3 Ultra";
  compute.product_bytes_per_s = 0.8 * 819 * giga;
  compute.flop_per_s = 57 * tera;
  compute.watt = 270;
  compute.price_usd = 9499;
  compute.origin = "preset";
  compute.source =
      "Apple, 2025-03: 819 GB/s, 270 W, $9,499; 0.8 of the bandwidth and 57 TFLOPS "
      "(fp16) assumed";
  made.what.price_usd = 9499;
  made.background_watt = quantity{20, origin::assumed, "at rest; give --background-watt"};
  return made;
}

}  // namespace

const std::vector<machine_preset> &machine_presets() {
  static const std::vector<machine_preset> all = {
      hopper("h100", "H100 SXM with DDR5 and one NVMe Gen5 drive", h100, 2.95,
             "median of H100 rental prices, 2026-05"),
      hopper("h200", "H200 SXM with DDR5 and one NVMe Gen5 drive", h200, 4.54,
             "H200 at Spheron, 2026-03"),
      with_cxl(),
      gb200(),
      vera_rubin(),
      desktop(),
      apple()};
  return all;
}

const machine_preset *find_machine(const std::string &name) {
  std::string wanted = plain_name(name);
  if (wanted == "vera-rubin-nvl72") wanted = "vr-nvl72";
  for (const machine_preset &one : machine_presets())
    if (one.name == wanted) return &one;
  return nullptr;
}

}  // namespace cubby_cli::plan
