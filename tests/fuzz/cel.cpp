// SPDX-License-Identifier: Apache-2.0
//
// Expressions: whatever is read is checked and run, twice.

#include <algorithm>

#include <kubernel/cel/expression.h>

#include "target.h"

using kubernel::fuzz::must;
namespace cel = kubernel::cel;

namespace {

constexpr std::uint64_t kCost = 20'000;

bool begins_with_position(const std::string& message) {
  const auto digits = std::ranges::find_if(message, [](char c) { return c < '0' || c > '9'; });
  return digits != message.begin() && digits != message.end() && *digits == ':';
}

}  // namespace

KUBERNEL_FUZZ(input) {
  static const auto kDocument = *kubernel::api::Document::parse(R"({"a":[1,2.5,"x",null,true],"b":{"c":"d"}})");
  const auto expression = cel::Expression::parse(std::string(input), {.max_bytes = 4096});
  if (!expression) {
    must(begins_with_position(expression.error().message()), "an error says where");
    return;
  }
  cel::Environment environment;
  environment.declare("self", {});
  environment.declare("n", cel::Type::Kind::Int);
  const auto program = cel::Program::compile(*expression, environment);
  if (!program) {
    must(begins_with_position(program.error().message()), "an error says where");
    return;
  }
  cel::Activation activation;
  activation.set("self", cel::Value::json(kDocument->root()));
  activation.set("n", cel::Value::integer(3));
  cel::Budget first(kCost);
  cel::Budget second(kCost);
  const auto once = program->evaluate(activation, first);
  const auto again = program->evaluate(activation, second);
  must(once.has_value() == again.has_value() && first.left() == second.left(), "the same expression does the same");
  if (once) must(once->to_text() == again->to_text(), "the same expression gives the same");
}
