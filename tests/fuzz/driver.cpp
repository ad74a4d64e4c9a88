// SPDX-License-Identifier: Apache-2.0
//
// Runs one fuzz target (a function named as libFuzzer wants it) where there is no libFuzzer: the inputs of the corpus
// first, then mutations of them, drawn from a seed, so that a run can be repeated. In a build with
// -fsanitize-coverage=trace-pc an input that reaches new code joins the corpus.
//
//   fuzz-TARGET [--runs N] [--seconds N] [--seed N] [--max-size BYTES] [--save DIRECTORY] [FILE|DIRECTORY]...
//
// Without --runs and --seconds only the files are run, which is how a finding is repeated. What makes a target fail or
// hang is left in ./crash-TARGET.

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

namespace fs = std::filesystem;
using Bytes = std::string;

constexpr unsigned kMostSeconds = 60;  // Of one input; more is a hang.
constexpr std::size_t kEdges = 1U << 16U;

std::uint8_t reached[kEdges];  // No class: the code of its members would be counted, for ever.
std::size_t newly_reached = 0;

const Bytes* current = nullptr;
std::string crash_file;

extern "C" void leave_input_behind(int signal) {
  if (current != nullptr) {
    const int fd = open(crash_file.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
    if (fd >= 0 && write(fd, current->data(), current->size()) >= 0) {
      constexpr std::string_view kSaid = "the input is in ./crash-*\n";
      static_cast<void>(!write(STDERR_FILENO, kSaid.data(), kSaid.size()));
    }
  }
  std::signal(signal, SIG_DFL);
  raise(signal);
}

struct Options {
  std::uint64_t runs = 0;
  std::uint64_t seconds = 0;
  std::uint64_t seed = 1;
  std::uint64_t max_size = 4096;
  std::string save;
  std::vector<fs::path> inputs;
};

// SplitMix64: small, and the same everywhere.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15U);
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31U);
  }
  // 0 … most - 1; 0 for 0.
  std::size_t below(std::size_t most) { return most == 0 ? 0 : static_cast<std::size_t>(next() % most); }

 private:
  std::uint64_t state_;
};

class Mutator {
 public:
  Mutator(Dice& dice, const std::vector<Bytes>& corpus, std::size_t max_size)
      : dice_(dice), corpus_(corpus), max_size_(max_size) {}

  Bytes make() {
    Bytes out = corpus_[dice_.below(corpus_.size())];
    for (std::size_t n = 1 + dice_.below(5); n > 0; --n) change(out);
    if (out.size() > max_size_) out.resize(max_size_);
    return out;
  }

 private:
  void change(Bytes& out) {
    const std::size_t at = dice_.below(out.size() + 1);
    const std::size_t length = 1 + dice_.below(std::min<std::size_t>(out.size() - at, 64));
    switch (dice_.below(10)) {
      case 0:
        if (at < out.size()) out[at] = static_cast<char>(static_cast<unsigned char>(out[at]) ^ (1U << dice_.below(8)));
        break;
      case 1:
        if (at < out.size()) out[at] = static_cast<char>(dice_.next());
        break;
      case 2: out.insert(at, 1 + dice_.below(4), static_cast<char>(dice_.next())); break;
      case 3: out.erase(at, length); break;
      case 4: out.insert(dice_.below(out.size() + 1), out.substr(at, length)); break;
      case 5: out.resize(at); break;
      case 6: splice(out, at); break;
      case 7: replace_number(out, at); break;
      case 8: write_integer(out, at); break;
      default: repeat(out, at, length); break;
    }
  }

  // A piece of another input.
  void splice(Bytes& out, std::size_t at) {
    const Bytes& other = corpus_[dice_.below(corpus_.size())];
    const std::size_t from = dice_.below(other.size() + 1);
    out.insert(at, other.substr(from, 1 + dice_.below(256)));
  }

  // Digits become a number that is often forgotten.
  void replace_number(Bytes& out, std::size_t at) {
    static constexpr std::array<std::string_view, 14> kNumbers = {"0",
                                                                  "-1",
                                                                  "1",
                                                                  "-0",
                                                                  "00",
                                                                  "255",
                                                                  "65536",
                                                                  "2147483648",
                                                                  "4294967296",
                                                                  "9223372036854775807",
                                                                  "9223372036854775808",
                                                                  "-9223372036854775809",
                                                                  "1e999",
                                                                  "0.0000000000000000000000001"};
    const std::size_t begin = out.find_first_of("0123456789", at);
    if (begin == Bytes::npos) return;
    const std::size_t end = std::min(out.find_first_not_of("0123456789", begin), out.size());
    out.replace(begin, end - begin, kNumbers[dice_.below(kNumbers.size())]);
  }

  // One, two, four or eight bytes, either end first: lengths and counts of binary formats.
  void write_integer(Bytes& out, std::size_t at) {
    static constexpr std::array<std::uint64_t, 8> kValues = {
        0, 1, 0x7f, 0x80, 0xffff, 0x7fffffff, 0xffffffff, std::numeric_limits<std::uint64_t>::max()};
    const std::size_t size = std::size_t{1} << dice_.below(4);
    if (at + size > out.size()) return;
    const std::uint64_t value = kValues[dice_.below(kValues.size())] + dice_.below(3) - 1;
    const bool big_end_first = dice_.below(2) == 0;
    for (std::size_t i = 0; i < size; ++i) {
      out[at + (big_end_first ? size - 1 - i : i)] = static_cast<char>(value >> (8U * i));
    }
  }

  // Nesting and endless lists.
  void repeat(Bytes& out, std::size_t at, std::size_t length) {
    const Bytes piece = out.substr(at, length);
    if (piece.empty()) return;
    Bytes many;
    for (std::size_t n = 1 + dice_.below(200); n > 0 && many.size() < max_size_; --n) many += piece;
    out.insert(at, many);
  }

  Dice& dice_;
  const std::vector<Bytes>& corpus_;
  const std::size_t max_size_;
};

[[noreturn]] void usage(const std::string& why) {
  std::fprintf(stderr,
               "%s\nusage: fuzz-TARGET [--runs N] [--seconds N] [--seed N] [--max-size BYTES] [--save DIRECTORY] "
               "[FILE|DIRECTORY]...\n",
               why.c_str());
  std::exit(2);
}

Options parse(const std::vector<std::string>& words) {
  Options options;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (!words[i].starts_with("--")) {
      options.inputs.emplace_back(words[i]);
      continue;
    }
    if (i + 1 == words.size()) usage(words[i] + " needs a value");
    const std::string& value = words[i + 1];
    if (words[i] == "--save") {
      options.save = value;
    } else {
      std::uint64_t* const number = words[i] == "--runs"       ? &options.runs
                                    : words[i] == "--seconds"  ? &options.seconds
                                    : words[i] == "--seed"     ? &options.seed
                                    : words[i] == "--max-size" ? &options.max_size
                                                               : nullptr;
      if (number == nullptr) usage("unknown option " + words[i]);
      char* end = nullptr;
      *number = std::strtoull(value.c_str(), &end, 10);
      if (end == value.c_str() || *end != '\0') usage(words[i] + ": \"" + value + "\" is no number");
    }
    ++i;
  }
  return options;
}

Bytes content(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) usage("cannot read " + file.string());
  return {std::istreambuf_iterator<char>(in), {}};
}

// In the order of their names, which the order of a directory is not.
std::vector<Bytes> read_corpus(const std::vector<fs::path>& inputs) {
  std::vector<fs::path> files;
  for (const fs::path& input : inputs) {
    if (!fs::is_directory(input)) {
      files.push_back(input);
      continue;
    }
    for (const auto& entry : fs::directory_iterator(input)) files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  std::vector<Bytes> corpus;
  for (const fs::path& file : files) corpus.push_back(content(file));
  if (corpus.empty()) corpus.emplace_back();
  return corpus;
}

// True: it went where no input before went.
bool run(const Bytes& input) {
  newly_reached = 0;
  current = &input;
  alarm(kMostSeconds);
  // A copy of exactly its size, so that reading past the end is found.
  const std::vector<std::uint8_t> exact(input.begin(), input.end());
  LLVMFuzzerTestOneInput(exact.data(), exact.size());
  alarm(0);
  current = nullptr;
  return newly_reached > 0;
}

std::uint64_t fuzz(const Options& options, std::vector<Bytes>& corpus) {
  using std::chrono::steady_clock;
  Dice dice(options.seed);
  const auto end = steady_clock::now() + std::chrono::seconds(options.seconds);
  std::uint64_t runs = 0;
  for (; runs < options.runs || (options.seconds > 0 && steady_clock::now() < end); ++runs) {
    Bytes input = Mutator(dice, corpus, options.max_size).make();
    if (!run(input)) continue;
    if (!options.save.empty()) {
      std::ofstream(fs::path(options.save) / ("found-" + std::to_string(runs)), std::ios::binary) << input;
    }
    corpus.push_back(std::move(input));
  }
  return runs;
}

}  // namespace

#if defined(__GNUC__) && !defined(__clang__)
// What -fsanitize-coverage=trace-pc calls on every edge.
extern "C" __attribute__((visibility("default"), no_sanitize("address", "undefined"), no_sanitize_coverage)) void
__sanitizer_cov_trace_pc() {
  const auto address = reinterpret_cast<std::uintptr_t>(__builtin_return_address(0));
  std::uint8_t& seen = reached[(address ^ (address >> 16U)) % kEdges];
  newly_reached += seen == 0 ? 1U : 0U;
  seen = 1;
}
#endif

int main(int argc, char** argv) {
  const Options options = parse({argv + 1, argv + argc});
  crash_file = "crash-" + fs::path(argv[0]).filename().string();
  for (const int signal : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM}) std::signal(signal, leave_input_behind);
  std::signal(SIGPIPE, SIG_IGN);
  std::vector<Bytes> corpus = read_corpus(options.inputs);
  for (const Bytes& input : corpus) run(input);
  const std::size_t before = corpus.size();
  const std::uint64_t runs = fuzz(options, corpus);
  std::printf("%zu inputs, %llu mutations, %zu of them new\n", before, static_cast<unsigned long long>(runs),
              corpus.size() - before);
  return 0;
}
