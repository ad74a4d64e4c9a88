// SPDX-License-Identifier: Apache-2.0
//
// Image archives: tar, manifests, layers. Whatever an archive says, nothing is written outside of the store.

#include <stdlib.h>

#include <filesystem>
#include <fstream>

#include <kubernel/testing/fake_clock.h>

#include "image_store.h"
#include "layer.h"
#include "manifest.h"
#include "reference.h"
#include "target.h"

using kubernel::fuzz::must;
namespace oci = kubernel::runtime::oci;
namespace fs = std::filesystem;

namespace {

constexpr oci::UnpackLimits kLimits{.max_bytes = 1 << 20, .max_entries = 1000};

struct Place {
  Place() {
    std::string name = fs::temp_directory_path() / "kubernel-fuzz-XXXXXX";
    must(mkdtemp(name.data()) != nullptr, "there is room for temporary files");
    top = name;
  }
  ~Place() { fs::remove_all(top); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  fs::path top;
};

std::size_t entries(const fs::path& directory) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(directory), {}));
}

}  // namespace

KUBERNEL_FUZZ(input) {
  static_cast<void>(oci::parse_manifest(input));
  static_cast<void>(oci::parse_image_config(input));
  if (const auto reference = oci::parse_reference(input)) {
    const auto again = oci::parse_reference(reference->text());
    must(again.has_value() && again->text() == reference->text(), "a reference's text is canonical");
  }
  static Place place;
  const fs::path archive = place.top / "archive", root = place.top / "store";
  std::ofstream(archive, std::ios::binary) << input;
  kubernel::testing::RecordingLogger log;
  auto store = oci::Store::open({.root = root, .limits = kLimits, .durable = oci::Durable::No}, log, nullptr);
  must(store.has_value(), "the store opens");
  static_cast<void>((*store)->load({}, archive));
  fs::create_directories(place.top / "layer");
  static_cast<void>(oci::unpack_layer({}, archive, place.top / "layer", {}, kLimits));
  must(entries(place.top) == 3, "nothing is written beside the store");
  (*store).reset();
  fs::remove_all(root);
  fs::remove_all(place.top / "layer");
}
