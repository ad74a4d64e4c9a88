// SPDX-License-Identifier: Apache-2.0
#include "bolt_file.h"

#include <utility>

namespace kubernel::etcd_server {

namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kHeader = 16;   // Of a page.
constexpr std::size_t kElement = 16;  // Of an entry in a page, its key and value apart.
constexpr std::uint32_t kMagic = 0xED0CDAED;
constexpr std::uint32_t kVersion = 2;
constexpr std::uint64_t kFreeListPage = 2;
constexpr std::uint64_t kRootPage = 3;
constexpr std::uint32_t kBucketFlag = 1;
constexpr std::size_t kMostInPage = 0x7fff;

enum PageKind : std::uint16_t { kBranch = 0x01, kLeaf = 0x02, kMeta = 0x04, kFreeList = 0x10 };

// Numbers are little endian.
template <class T>
void put(std::string& out, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i)
    out.push_back(static_cast<char>((static_cast<std::uint64_t>(value) >> (8 * i)) & 0xff));
}

std::string page_header(std::uint64_t id, PageKind kind, std::size_t count, std::uint64_t pages) {
  std::string out;
  put(out, id);
  put(out, static_cast<std::uint16_t>(kind));
  put(out, static_cast<std::uint16_t>(count));
  put(out, static_cast<std::uint32_t>(pages - 1));
  return out;
}

void pad(std::string& page) {
  page.resize((page.size() + kPage - 1) / kPage * kPage, '\0');
}

std::uint64_t fnv1a(std::string_view bytes) {
  std::uint64_t hash = 14695981039346656037U;
  for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  return hash;
}

std::string meta_page(std::uint64_t id, std::uint64_t pages) {
  std::string meta;
  put(meta, kMagic);
  put(meta, kVersion);
  put(meta, static_cast<std::uint32_t>(kPage));
  put(meta, std::uint32_t{0});
  put(meta, kRootPage);
  put(meta, std::uint64_t{0});  // The root's sequence.
  put(meta, kFreeListPage);
  put(meta, pages);
  put(meta, id);  // The transaction: page 1 holds the newer one.
  put(meta, fnv1a(meta));
  std::string page = page_header(id, kMeta, 0, 1) + meta;
  pad(page);
  return page;
}

// Entries of a leaf, laid out as bbolt reads them: the table first, then keys and values in order.
class LeafBuilder {
 public:
  explicit LeafBuilder(std::size_t count) : left_(count) {}
  void add(std::uint32_t flags, std::string_view key, std::string_view value) {
    put(table_, flags);
    put(table_, static_cast<std::uint32_t>(left_-- * kElement + data_.size()));  // Counted from this entry.
    put(table_, static_cast<std::uint32_t>(key.size()));
    put(table_, static_cast<std::uint32_t>(value.size()));
    data_.append(key).append(value);
  }
  std::string take() { return std::move(table_) + data_; }

 private:
  std::size_t left_;
  std::string table_, data_;
};

}  // namespace

BoltFile::BoltFile(std::vector<BoltBucket> buckets) : buckets_(std::move(buckets)) {
  for (const BoltBucket& bucket : buckets_) plans_.push_back(plan(bucket));
}

std::uint64_t BoltFile::size_bytes() const noexcept {
  return pages_ * kPage;
}

void BoltFile::number(std::vector<Node>& level) {
  for (Node& node : level) {
    node.page = pages_;
    pages_ += node.pages;
  }
}

BoltFile::Plan BoltFile::plan(const BoltBucket& bucket) {
  Plan out;
  std::vector<Node> leaves;
  std::size_t used = 0;
  for (std::size_t i = 0; i < bucket.items.size(); ++i) {
    const std::size_t size = kElement + bucket.items[i].key.size() + bucket.items[i].value_size;
    if (leaves.empty() || used + size > kPage || leaves.back().count == kMostInPage) {
      leaves.push_back({.first = i, .least = bucket.items[i].key});
      used = kHeader;
    }
    used += size;
    ++leaves.back().count;
    leaves.back().pages = (used + kPage - 1) / kPage;
  }
  if (leaves.empty()) leaves.push_back({});
  number(leaves);
  out.levels.push_back(std::move(leaves));
  while (out.levels.back().size() > 1) {
    const auto& below = out.levels.back();
    std::vector<Node> level;
    for (std::size_t i = 0; i < below.size(); ++i) {
      const std::size_t size = kElement + below[i].least.size();
      if (level.empty() || used + size > kPage) {
        level.push_back({.first = i, .least = below[i].least});
        used = kHeader;
      }
      used += size;
      ++level.back().count;
      level.back().pages = (used + kPage - 1) / kPage;
    }
    number(level);
    out.levels.push_back(std::move(level));
  }
  return out;
}

std::string BoltFile::first_pages() const {
  std::string out = meta_page(0, pages_) + meta_page(1, pages_);
  out += page_header(kFreeListPage, kFreeList, 0, 1);
  pad(out);
  LeafBuilder buckets(buckets_.size());
  for (std::size_t i = 0; i < buckets_.size(); ++i) {
    std::string value;
    put(value, plans_[i].levels.back().front().page);
    put(value, std::uint64_t{0});
    buckets.add(kBucketFlag, buckets_[i].name, value);
  }
  out += page_header(kRootPage, kLeaf, buckets_.size(), 1) + buckets.take();
  pad(out);
  return out;
}

Result<std::string> BoltFile::leaf(const BoltBucket& bucket, const Node& node) const {
  LeafBuilder entries(node.count);
  for (std::size_t i = node.first; i < node.first + node.count; ++i) {
    KUBERNEL_TRY(const std::string value, bucket.value(i));
    if (value.size() != bucket.items[i].value_size)
      return Error(Reason::Internal, "snapshot: a value changed its size");
    entries.add(0, bucket.items[i].key, value);
  }
  std::string page = page_header(node.page, kLeaf, node.count, node.pages) + entries.take();
  pad(page);
  return page;
}

std::string BoltFile::branch(const std::vector<Node>& below, const Node& node) {
  std::string table, data;
  for (std::size_t i = 0; i < node.count; ++i) {
    const Node& child = below[node.first + i];
    put(table, static_cast<std::uint32_t>((node.count - i) * kElement + data.size()));
    put(table, static_cast<std::uint32_t>(child.least.size()));
    put(table, child.page);
    data += child.least;
  }
  std::string page = page_header(node.page, kBranch, node.count, node.pages) + table + data;
  pad(page);
  return page;
}

Result<void> BoltFile::write(const std::function<Result<void>(std::string_view)>& sink) const {
  KUBERNEL_CHECK_OK(sink(first_pages()));
  for (std::size_t b = 0; b < buckets_.size(); ++b) {
    const auto& levels = plans_[b].levels;
    for (std::size_t l = 0; l < levels.size(); ++l) {
      for (const Node& node : levels[l]) {
        if (l == 0) {
          KUBERNEL_TRY(const std::string page, leaf(buckets_[b], node));
          KUBERNEL_CHECK_OK(sink(page));
        } else {
          KUBERNEL_CHECK_OK(sink(branch(levels[l - 1], node)));
        }
      }
    }
  }
  return {};
}

}  // namespace kubernel::etcd_server
