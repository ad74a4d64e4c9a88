// SPDX-License-Identifier: Apache-2.0
#include "strategies/allocator.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

#include <nlohmann/json.hpp>

#include <kubernel/api/time.h>
#include <kubernel/crypto/pki.h>

#include "registry/json_util.h"

namespace kubernel::apiserver {

namespace {

constexpr std::string_view kAddressPrefix = "/registry/ipaddresses/";
constexpr std::string_view kPortKey = "/registry/ranges/servicenodeports";

std::optional<std::uint32_t> parse_ipv4(std::string_view text_in) {
  std::uint32_t out = 0;
  for (int part = 0; part < 4; ++part) {
    const std::size_t dot = text_in.find('.');
    if ((dot == std::string_view::npos) != (part == 3)) return std::nullopt;
    const std::string_view piece = text_in.substr(0, dot);
    unsigned value = 0;
    const auto [end, problem] = std::from_chars(piece.data(), piece.data() + piece.size(), value);
    const bool padded = piece.size() > 1 && piece.front() == '0';
    if (problem != std::errc() || end != piece.data() + piece.size() || value > 255 || padded) return std::nullopt;
    out = out << 8 | value;
    if (part < 3) text_in.remove_prefix(dot + 1);
  }
  return out;
}

std::string format_ipv4(std::uint32_t address) {
  return std::to_string(address >> 24) + "." + std::to_string(address >> 16 & 255) + "." +
         std::to_string(address >> 8 & 255) + "." + std::to_string(address & 255);
}

bool owned_by(const std::string& stored, const ServiceName& owner) {
  const json document = json::parse(stored, nullptr, false);
  return text(document, {"spec", "parentRef", "name"}) == owner.name &&
         text(document, {"spec", "parentRef", "namespace"}) == owner.ns;
}

}  // namespace

Result<AddressRange> AddressRange::parse(std::string_view cidr) {
  const std::size_t slash = cidr.find('/');
  const auto base = parse_ipv4(cidr.substr(0, slash));
  int bits = -1;
  if (slash != std::string_view::npos) std::from_chars(cidr.data() + slash + 1, cidr.data() + cidr.size(), bits);
  if (!base || bits < 12 || bits > 28) {
    return Error(Reason::Invalid, "\"" + std::string(cidr) + "\" is no IPv4 range with a prefix of 12 to 28 bits");
  }
  AddressRange out;
  out.size_ = std::uint32_t{1} << (32 - bits);
  out.base_ = *base & ~(out.size_ - 1);
  out.text_ = format_ipv4(out.base_) + "/" + std::to_string(bits);
  return out;
}

bool AddressRange::contains(std::string_view address) const {
  const auto parsed = parse_ipv4(address);
  return parsed && *parsed > base_ && *parsed - base_ < size_ - 1;
}

std::string AddressRange::at(std::uint32_t offset) const {
  return format_ipv4(base_ + offset);
}
std::uint32_t AddressRange::usable() const {
  return size_ - 2;
}
std::uint32_t AddressRange::static_band() const {
  return size_ <= 16 ? 0 : std::clamp<std::uint32_t>(size_ / 16, 16, 256);
}

AddressAllocator::AddressAllocator(storage::Backend& backend, Clock& clock, Random& random, AddressRange range)
    : backend_(backend), clock_(clock), random_(random), range_(std::move(range)) {}

Result<bool> AddressAllocator::try_take(const CallContext& ctx, const std::string& address, const ServiceName& owner,
                                        bool dry_run) {
  const std::string key = std::string(kAddressPrefix) + address;
  if (dry_run) {
    KUBERNEL_TRY(const auto there, backend_.get(ctx, key, 0));
    return !there;
  }
  const json document = {
      {"kind", "IPAddress"},
      {"apiVersion", "networking.k8s.io/v1"},
      {"metadata",
       {{"name", address},
        {"uid", random_uuid(random_)},
        {"creationTimestamp", api::format_time(clock_.wall_now())},
        {"labels",
         {{"ipaddress.kubernetes.io/ip-family", "IPv4"},
          {"ipaddress.kubernetes.io/managed-by", "ipallocator.k8s.io"}}}}},
      {"spec",
       {{"parentRef", {{"group", ""}, {"resource", "services"}, {"namespace", owner.ns}, {"name", owner.name}}}}}};
  KUBERNEL_TRY(const storage::CasResult put, backend_.put(ctx, key, document.dump(), 0, 0));
  // What the same service left behind when the server died between taking an address and writing the service is its
  // own.
  return put.applied || (put.current && owned_by(put.current->value, owner));
}

Result<std::string> AddressAllocator::take_any(const CallContext& ctx, const ServiceName& owner, bool dry_run) {
  const std::uint32_t band = range_.static_band();
  const std::uint32_t dynamic = range_.usable() - band;
  constexpr int kGuesses = 16;
  for (int guess = 0; guess < kGuesses; ++guess) {
    const std::string address = range_.at(band + 1 + static_cast<std::uint32_t>(random_below(random_, dynamic)));
    KUBERNEL_TRY(const bool taken, try_take(ctx, address, owner, dry_run));
    if (taken) return address;
  }
  // Nearly full: every address in turn, those of the static band last.
  const std::uint32_t start = static_cast<std::uint32_t>(random_below(random_, dynamic));
  for (std::uint32_t i = 0; i < range_.usable(); ++i) {
    const std::uint32_t offset = i < dynamic ? band + (start + i) % dynamic : range_.usable() - 1 - i;
    const std::string address = range_.at(offset + 1);
    KUBERNEL_TRY(const bool taken, try_take(ctx, address, owner, dry_run));
    if (taken) return address;
  }
  return Error(Reason::Invalid, "failed to allocate a serviceIP: range is full");
}

Result<void> AddressAllocator::take(const CallContext& ctx, const std::string& address, const ServiceName& owner,
                                    bool dry_run) {
  if (!range_.contains(address)) {
    return Error(Reason::Invalid, "failed to allocate IP " + address + ": the provided IP (" + address +
                                      ") is not in the valid range. The range of valid IPs is " + range_.text());
  }
  KUBERNEL_TRY(const bool taken, try_take(ctx, address, owner, dry_run));
  if (!taken) return Error(Reason::Invalid, "failed to allocate IP " + address + ": provided IP is already allocated");
  return {};
}

Result<void> AddressAllocator::give_back(const CallContext& ctx, const std::string& address, const ServiceName& owner) {
  const std::string key = std::string(kAddressPrefix) + address;
  KUBERNEL_TRY(auto there, backend_.get(ctx, key, 0));
  while (there && owned_by(there->value, owner)) {
    KUBERNEL_TRY(storage::CasResult removed, backend_.remove(ctx, key, there->modified));
    if (removed.applied) return {};
    there = std::move(removed.current);
  }
  return {};
}

PortAllocator::PortAllocator(storage::Backend& backend, Random& random, int first, int last)
    : backend_(backend), random_(random), first_(first), last_(last) {}

// Upstream's form: the bytes of a big-endian number whose bit n stands for the n-th port.
Result<PortAllocator::Bits> PortAllocator::decode(const std::string& stored) const {
  Bits bits(static_cast<std::size_t>(last_ - first_ + 1));
  const json document = json::parse(stored, nullptr, false);
  KUBERNEL_TRY(const std::string bytes, crypto::base64_decode(text(document, {"data"})));
  for (std::size_t i = 0; i < bits.size() && i / 8 < bytes.size(); ++i) {
    const auto byte = static_cast<unsigned char>(bytes[bytes.size() - 1 - i / 8]);
    bits[i] = (byte >> (i % 8) & 1) != 0;
  }
  return bits;
}

std::string PortAllocator::encode(const Bits& bits) const {
  std::string bytes((bits.size() + 7) / 8, '\0');
  for (std::size_t i = 0; i < bits.size(); ++i) {
    if (!bits[i]) continue;
    char& byte = bytes[bytes.size() - 1 - i / 8];
    byte = static_cast<char>(static_cast<unsigned char>(byte) | 1U << (i % 8));
  }
  const json document = {{"kind", "RangeAllocation"},
                         {"apiVersion", "v1"},
                         {"metadata", json::object()},
                         {"range", std::to_string(first_) + "-" + std::to_string(last_)},
                         {"data", crypto::base64_encode(bytes)}};
  return document.dump();
}

Result<void> PortAllocator::change(const CallContext& ctx, const std::function<Result<bool>(Bits&)>& edit) {
  KUBERNEL_TRY(auto kv, backend_.get(ctx, kPortKey, 0));
  for (;;) {
    Bits bits(static_cast<std::size_t>(last_ - first_ + 1));
    if (kv) {
      KUBERNEL_TRY(bits, decode(kv->value));
    }
    KUBERNEL_TRY(const bool changed, edit(bits));
    if (!changed) return {};
    KUBERNEL_TRY(storage::CasResult put, backend_.put(ctx, kPortKey, encode(bits), kv ? kv->modified : 0, 0));
    if (put.applied) return {};
    kv = std::move(put.current);
  }
}

Result<std::vector<int>> PortAllocator::take(const CallContext& ctx, const std::set<int>& wanted, std::size_t any,
                                             bool dry_run) {
  std::vector<int> chosen;
  const auto edit = [&](Bits& bits) -> Result<bool> {
    chosen.clear();
    for (const int port : wanted) {
      if (port < first_ || port > last_) {
        return Error(Reason::Invalid, "provided port is not in the valid range. The range of valid ports is " +
                                          std::to_string(first_) + "-" + std::to_string(last_));
      }
      if (bits[static_cast<std::size_t>(port - first_)])
        return Error(Reason::Invalid, "provided port is already allocated");
      bits[static_cast<std::size_t>(port - first_)] = true;
    }
    while (chosen.size() < any) {
      const std::size_t start = random_below(random_, bits.size());
      std::size_t tried = 0;
      while (tried < bits.size() && bits[(start + tried) % bits.size()]) ++tried;
      if (tried == bits.size()) return Error(Reason::Invalid, "failed to allocate a nodePort: range is full");
      bits[(start + tried) % bits.size()] = true;
      chosen.push_back(first_ + static_cast<int>((start + tried) % bits.size()));
    }
    return !dry_run && (!wanted.empty() || any > 0);
  };
  KUBERNEL_CHECK_OK(change(ctx, edit));
  return chosen;
}

Result<void> PortAllocator::give_back(const CallContext& ctx, const std::set<int>& ports) {
  return change(ctx, [&](Bits& bits) -> Result<bool> {
    bool changed = false;
    for (const int port : ports) {
      if (port < first_ || port > last_ || !bits[static_cast<std::size_t>(port - first_)]) continue;
      bits[static_cast<std::size_t>(port - first_)] = false;
      changed = true;
    }
    return changed;
  });
}

}  // namespace kubernel::apiserver
