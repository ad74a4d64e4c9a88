// SPDX-License-Identifier: Apache-2.0
#include "core/loader/plugin_text.h"

#include <elf.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

namespace kubernel::loader {
namespace {

using namespace std::string_literals;

// A file that is gone after the test.
class Scratch {
 public:
  explicit Scratch(const std::string& bytes) {
    std::string name = std::filesystem::temp_directory_path() / "kubernel-plugin-text-XXXXXX";
    const int fd = mkstemp(name.data());
    EXPECT_GE(fd, 0);
    EXPECT_EQ(write(fd, bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
    close(fd);
    path = name;
  }
  ~Scratch() { std::filesystem::remove(path); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  std::filesystem::path path;
};

// The smallest shared object with a .kubernel.plugin section: header, names, text, three section headers.
struct Image {
  Elf64_Ehdr header{};
  std::string names = "\0.kubernel.plugin\0.shstrtab\0"s;
  std::string text = "magic=kubernel-plugin\0name=x\0"s;
  Elf64_Shdr sections[3]{};

  Image() {
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = ET_DYN;
    header.e_shentsize = sizeof(Elf64_Shdr);
    header.e_shnum = 3;
    header.e_shstrndx = 2;
    header.e_shoff = sizeof header + names.size() + text.size();
    sections[1].sh_name = 1;
    sections[1].sh_offset = sizeof header + names.size();
    sections[1].sh_size = text.size();
    sections[2].sh_name = 18;
    sections[2].sh_offset = sizeof header;
    sections[2].sh_size = names.size();
  }

  std::string bytes() const {
    std::string out(reinterpret_cast<const char*>(&header), sizeof header);
    out += names + text;
    return out.append(reinterpret_cast<const char*>(sections), sizeof sections);
  }
};

std::string refusal(const std::string& bytes) {
  const Scratch file(bytes);
  const auto text = read_plugin_text(file.path);
  return text ? "accepted" : text.error().message();
}

TEST(ReadPluginText, FindsTheSection) {
  const Scratch file(Image().bytes());
  const auto text = read_plugin_text(file.path);
  ASSERT_TRUE(text) << text.error().message();
  EXPECT_EQ(text->at("name"), "x");
}

TEST(ReadPluginText, AnyTruncationIsRefusedWithoutACrash) {
  const std::string whole = Image().bytes();
  for (std::size_t size = 0; size < whole.size(); ++size) EXPECT_NE(refusal(whole.substr(0, size)), "accepted") << size;
}

TEST(ReadPluginText, AnyBrokenByteIsSurvived) {
  const std::string whole = Image().bytes();
  for (std::size_t i = 0; i < whole.size(); ++i) {
    std::string broken = whole;
    broken[i] = static_cast<char>(~broken[i]);
    static_cast<void>(refusal(broken));
  }
}

TEST(ReadPluginText, OffsetsBeyondTheFileAreRefused) {
  Image image;
  image.sections[1].sh_offset = ~std::uint64_t{0} - 4;
  EXPECT_EQ(refusal(image.bytes()), "truncated ELF file");
  image = Image();
  image.sections[1].sh_size = ~std::uint64_t{0};
  EXPECT_EQ(refusal(image.bytes()), "section .kubernel.plugin is larger than 1 MiB");
  image = Image();
  image.header.e_shoff = ~std::uint64_t{0} - 8;
  EXPECT_EQ(refusal(image.bytes()), "truncated ELF file");
}

TEST(ReadPluginText, OtherFilesAreRefused) {
  EXPECT_EQ(refusal("#!/bin/sh\n"), "not a little-endian ELF64 file");
  Image image;
  image.header.e_ident[EI_CLASS] = ELFCLASS32;
  EXPECT_EQ(refusal(image.bytes()), "not a little-endian ELF64 file");
  image = Image();
  image.header.e_type = ET_EXEC;
  EXPECT_EQ(refusal(image.bytes()), "not a shared object");
  image = Image();
  image.names[1] = '_';
  EXPECT_EQ(refusal(image.bytes()), "no .kubernel.plugin section: not a plugin");
}

TEST(ReadPluginText, AFileThatIsNotThereIsNotFound) {
  const auto text = read_plugin_text("/nonexistent/x.so");
  ASSERT_FALSE(text);
  EXPECT_EQ(text.error().reason(), Reason::NotFound);
}

TEST(ParsePluginText, NeedsTheMagicFirst) {
  EXPECT_FALSE(parse_plugin_text("name=x\0magic=kubernel-plugin\0"s));
  EXPECT_FALSE(parse_plugin_text(""));
}

TEST(ParsePluginText, RefusesALineWithoutAValueAndAKeyTwice) {
  EXPECT_FALSE(parse_plugin_text("magic=kubernel-plugin\0name\0"s));
  EXPECT_FALSE(parse_plugin_text("magic=kubernel-plugin\0name=a\0name=b\0"s));
}

TEST(ExplainAbiDifference, NamesEachFieldThatDiffersOrIsMissing) {
  const PluginText core = {{"abi.json", "3.11.2"}, {"abi.std", "202002"}, {"name", "core"}};
  const PluginText plugin = {{"abi.json", "3.10.5"}, {"abi.new", "1"}, {"name", "x"}};
  EXPECT_EQ(explain_abi_difference(core, plugin),
            "abi.json: core 3.11.2, plugin 3.10.5; abi.new: core (absent), plugin 1; "
            "abi.std: core 202002, plugin (absent)");
  EXPECT_EQ(explain_abi_difference(core, core), "");
}

}  // namespace
}  // namespace kubernel::loader
