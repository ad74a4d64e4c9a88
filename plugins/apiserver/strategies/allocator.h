// SPDX-License-Identifier: Apache-2.0
//
// Cluster addresses and node ports of services. Both live in the store, so that two API servers never give one out
// twice: an address is an IPAddress object that can be created once; the ports are one RangeAllocation that is changed
// by compare-and-swap. Keys and formats are upstream's.

#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include <kubernel/base/clock.h>
#include <kubernel/base/context.h>
#include <kubernel/base/random.h>
#include <kubernel/base/result.h>
#include <kubernel/storage/backend.h>

namespace kubernel::apiserver {

/// An IPv4 range such as 10.96.0.0/12.
class AddressRange {
 public:
  /// Errors: Invalid.
  static Result<AddressRange> parse(std::string_view cidr);

  bool contains(std::string_view address) const;
  std::string at(std::uint32_t offset) const;
  /// Addresses that services may have: without the network's own and the broadcast one. The first is at(1).
  std::uint32_t usable() const;
  /// Offsets below it are given only when asked for by address (KEP-3070).
  std::uint32_t static_band() const;
  const std::string& text() const noexcept { return text_; }

 private:
  std::string text_;
  std::uint32_t base_ = 0;
  std::uint32_t size_ = 0;
};

struct ServiceName {
  std::string ns;
  std::string name;
};

/// Threads: all members may be called concurrently.
class AddressAllocator {
 public:
  AddressAllocator(storage::Backend& backend, Clock& clock, Random& random, AddressRange range);

  const AddressRange& range() const noexcept { return range_; }

  /// Errors: Invalid when every address is taken.
  Result<std::string> take_any(const CallContext& ctx, const ServiceName& owner, bool dry_run);
  /// Errors: Invalid when it is out of range or taken by another; the message is upstream's.
  Result<void> take(const CallContext& ctx, const std::string& address, const ServiceName& owner, bool dry_run);
  Result<void> give_back(const CallContext& ctx, const std::string& address, const ServiceName& owner);

 private:
  Result<bool> try_take(const CallContext& ctx, const std::string& address, const ServiceName& owner, bool dry_run);

  storage::Backend& backend_;
  Clock& clock_;
  Random& random_;
  AddressRange range_;
};

/// Threads: all members may be called concurrently.
class PortAllocator {
 public:
  PortAllocator(storage::Backend& backend, Random& random, int first, int last);

  int first() const noexcept { return first_; }
  int last() const noexcept { return last_; }
  /// Takes `wanted` (each must be free and in range) and `any` more; returns the latter.
  /// Errors: Invalid with upstream's message.
  Result<std::vector<int>> take(const CallContext& ctx, const std::set<int>& wanted, std::size_t any, bool dry_run);
  Result<void> give_back(const CallContext& ctx, const std::set<int>& ports);

 private:
  using Bits = std::vector<bool>;
  Result<void> change(const CallContext& ctx, const std::function<Result<bool>(Bits&)>& edit);
  Result<Bits> decode(const std::string& stored) const;
  std::string encode(const Bits& bits) const;

  storage::Backend& backend_;
  Random& random_;
  int first_;
  int last_;
};

}  // namespace kubernel::apiserver
