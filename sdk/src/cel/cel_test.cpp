// SPDX-License-Identifier: Apache-2.0
//
// One row per rule of the language (github.com/google/cel-spec, doc/langdef.md) and of Kubernetes' libraries.

#include <gtest/gtest.h>

#include <kubernel/cel/expression.h>

namespace kubernel::cel {
namespace {

constexpr std::uint64_t kPlenty = 1'000'000;

const api::Document& document() {
  static const auto kDocument =
      *api::Document::parse(R"({"name":"web","replicas":3,"ratio":0.5,"ready":true,"nothing":null,
      "labels":{"app":"web","tier":"front"},"ports":[80,443],"containers":[{"name":"a","image":"x:1"},{"name":"b"}],"empty":{}})");
  return *kDocument;
}

Environment environment() {
  Environment out;
  out.declare("self", Type::Kind::Dyn);
  out.declare("n", Type::Kind::Int);
  out.declare("s", Type::Kind::String);
  out.declare("unset", Type::Kind::Dyn);
  out.declare("labels", Type::map(Type::Kind::String, Type::Kind::String));
  out.declare("device",
              Type::object("Device", {{"driver", Type::Kind::String}, {"size", Type::opaque("kubernetes.Quantity")}}));
  return out;
}

Result<Program> compiled(const std::string& text, const Environment& in = environment()) {
  KUBERNEL_TRY(const auto expression, Expression::parse(text));
  return Program::compile(expression, in);
}

Result<Value> value_of(const std::string& text, std::uint64_t cost = kPlenty) {
  KUBERNEL_TRY(const auto program, compiled(text));
  Activation activation;
  activation.set("self", Value::json(document().root()));
  activation.set("n", Value::integer(7));
  activation.set("s", Value::view("süß"));
  activation.set("labels", Value::json(document().root()["labels"]));
  activation.set("device", Value::map({{Value::view("driver"), Value::view("gpu")},
                                       {Value::view("size"), *make_quantity("1Gi")}}));
  Budget budget(cost);
  return program.evaluate(activation, budget);
}

std::string outcome(const std::string& text) {
  const auto value = value_of(text);
  return value ? value->to_text() : "! " + value.error().message();
}

struct Row {
  const char* rule;
  const char* text;
  const char* gives;
};

class CelTest : public ::testing::TestWithParam<Row> {};

TEST_P(CelTest, Gives) {
  EXPECT_EQ(outcome(GetParam().text), GetParam().gives) << GetParam().rule << ": " << GetParam().text;
}

std::string row_name(const ::testing::TestParamInfo<Row>& info) {
  std::string out;
  for (const char c : std::string(info.param.rule)) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0) out += c;
  }
  return out + "_" + std::to_string(info.index);
}

INSTANTIATE_TEST_SUITE_P(
    Literals, CelTest,
    ::testing::Values(
        Row{"decimal int", "42", "42"}, Row{"least int", "-9223372036854775808", "-9223372036854775808"},
        Row{"hex int", "0x1F", "31"}, Row{"negative hex", "-0x10", "-16"},
        Row{"int too large", "9223372036854775808", "! 1:1: invalid int literal"},
        Row{"uint", "18446744073709551615u", "18446744073709551615u"},
        Row{"uint too large", "18446744073709551616u", "! 1:1: invalid uint literal"}, Row{"double", "1.5e3", "1500"},
        Row{"double without whole part", ".5", "0.5"}, Row{"null", "null", "null"},
        Row{"string in either quotes", "'a' + \"b\"", "\"ab\""},
        Row{"escapes", R"('\n\x41\101\u00e9\U0001F600\\')", "\"\\nAAé😀\\\\\""},
        Row{"raw string", R"(r'\n')", R"("\\n")"}, Row{"triple quotes span lines", "'''a\n'b'''", "\"a\\n'b\""},
        Row{"bytes escapes are bytes", R"(b'\xff'.size())", "1"}, Row{"bytes of text are its UTF8", "b'é'.size()", "2"},
        Row{"list with a comma at the end", "[1, 2,]", "[1, 2]"}, Row{"map", "{'b': 1, 'a': 2}", R"({"a": 2, "b": 1})"},
        Row{"map with a key twice", "{'a': 1, 'a': 2}", "! Failed with repeated key"},
        Row{"keys are simple", "{1.5: 1}", "! unsupported key type"}, Row{"comment", "1 // one\n + 1", "2"},
        Row{"type", "int", "int"}, Row{"unterminated string", "'abc", "! 1:1: syntax error: unterminated string"},
        Row{"unknown escape", R"('\q')", "! 1:2: syntax error: unknown escape sequence"},
        Row{"surrogates are no code points", R"('\ud800')", "! 1:2: syntax error: escape of what is no code point"}),
    row_name);

INSTANTIATE_TEST_SUITE_P(
    Syntax, CelTest,
    ::testing::Values(Row{"multiplication first", "1 + 2 * 3", "7"}, Row{"left associative", "10 - 4 - 3", "3"},
                      Row{"parentheses", "(1 + 2) * 3", "9"},
                      Row{"ternary is right associative", "false ? 1 : true ? 2 : 3", "2"},
                      Row{"and binds stronger than or", "true || false && false", "true"}, Row{"not", "!!true", "true"},
                      Row{"minus", "-n", "-7"}, Row{"leading dot", ".n", "7"},
                      Row{"nothing", "", "! 1:1: syntax error: unexpected end of expression"},
                      Row{"end too early", "1 +", "! 1:4: syntax error: unexpected end of expression"},
                      Row{"line and column", "1 +\n  )", "! 2:3: syntax error: unexpected ')'"},
                      Row{"columns are code points", "'é' + $", "! 1:7: syntax error: token recognition error at: '$'"},
                      Row{"too much", "1 2", "! 1:3: syntax error: unexpected '2'"},
                      Row{"reserved", "package", "! 1:1: reserved identifier: package"},
                      Row{"no messages", "Foo{a: 1}", "! 1:4: syntax error: messages cannot be made here, only maps"},
                      Row{"has wants a field", "has(n)", "! 1:1: invalid argument to has() macro"},
                      Row{"macro wants a name", "[1].all(1, true)", "! 1:9: argument must be a simple name"}),
    row_name);

INSTANTIATE_TEST_SUITE_P(
    Arithmetic, CelTest,
    ::testing::Values(
        Row{"int sum overflows", "9223372036854775807 + 1", "! integer overflow"},
        Row{"int difference overflows", "-9223372036854775808 - 1", "! integer overflow"},
        Row{"int product overflows", "9223372036854775807 * 2", "! integer overflow"},
        Row{"int quotient overflows", "-9223372036854775808 / -1", "! integer overflow"},
        Row{"negation overflows", "-(-9223372036854775808)", "! integer overflow"},
        Row{"uint overflows", "0u - 1u", "! unsigned integer overflow"}, Row{"quotient truncates", "-7 / 2", "-3"},
        Row{"remainder has the dividend's sign", "-7 % 2", "-1"},
        Row{"division by zero", "1 / 0", "! division by zero"}, Row{"modulus by zero", "1u % 0u", "! modulus by zero"},
        Row{"double division by zero", "1.0 / 0.0", "+Inf"},
        Row{"no mixed arithmetic", "dyn(1) + 1.0", "! no such overload"},
        Row{"double has no remainder", "dyn(1.0) % dyn(1.0)", "! no such overload"},
        Row{"bytes concatenate", "b'a' + b'b'", R"(b"ab")"}, Row{"lists concatenate", "[1] + [2]", "[1, 2]"}),
    row_name);

INSTANTIATE_TEST_SUITE_P(
    Comparison, CelTest,
    ::testing::Values(
        Row{"numbers compare by value", "dyn(1) == 1.0 && dyn(1u) == 1 && dyn(1) < 1.5 && dyn(2u) > 1", "true"},
        Row{"other types differ", "dyn(1) == '1'", "false"}, Row{"NaN", "double('NaN') == double('NaN')", "false"},
        Row{"NaN has no order", "double('NaN') < 1.0 || double('NaN') >= 1.0", "false"},
        Row{"negative is less than uint", "dyn(-1) < 1u", "true"},
        Row{"lists by element", "[1, [2.0]] == [1, [2]]", "true"},
        Row{"maps by entry", "{'a': 1, 'b': 2} == {'b': 2, 'a': 1}", "true"},
        Row{"null", "self.nothing == null", "true"}, Row{"false before true", "false < true", "true"},
        Row{"strings by code unit", "'a' < 'b' && 'a' < 'aa'", "true"},
        Row{"no order between types", "dyn('a') < 1", "! no such overload"}, Row{"in list", "2 in [1, 2]", "true"},
        Row{"in list across numbers", "dyn(2.0) in [1, 2]", "true"}, Row{"in map", "'app' in self.labels", "true"},
        Row{"in nothing else", "1 in dyn(1)", "! no such overload"}),
    row_name);

INSTANTIATE_TEST_SUITE_P(Logic, CelTest,
                         ::testing::Values(Row{"false decides before an error", "false && (1 / 0 == 1)", "false"},
                                           Row{"false decides after an error", "(1 / 0 == 1) && false", "false"},
                                           Row{"true decides after an error", "(1 / 0 == 1) || true", "true"},
                                           Row{"else the error", "(1 / 0 == 1) && true", "! division by zero"},
                                           Row{"no bool", "dyn(1) && true", "! no such overload"},
                                           Row{"no bool but decided", "dyn(1) || true", "true"},
                                           Row{"ternary runs one side", "true ? 1 : 1 / 0", "1"},
                                           Row{"ternary wants a bool", "dyn(1) ? 1 : 2", "! no such overload"},
                                           Row{"not wants a bool", "!dyn(1)", "! no such overload"}),
                         row_name);

INSTANTIATE_TEST_SUITE_P(
    Access, CelTest,
    ::testing::Values(Row{"select", "self.labels.app", "\"web\""}, Row{"back quotes", "{'a-b': 1}.`a-b`", "1"},
                      Row{"missing key", "self.missing", "! no such key: missing"},
                      Row{"select of no map", "dyn(1).x", "! no such overload"}, Row{"index", "self.ports[1]", "443"},
                      Row{"index by whole double", "self.ports[1.0]", "443"},
                      Row{"index out of bounds", "self.ports[2]", "! index out of bounds: 2"},
                      Row{"negative index", "self.ports[-1]", "! index out of bounds: -1"},
                      Row{"index by text", "self.ports['a']", "! unsupported index type 'string' in list"},
                      Row{"map by key", "{1: 'a'}[dyn(1u)]", "\"a\""},
                      Row{"map without the key", "{1: 'a'}[2]", "! no such key: 2"},
                      Row{"has", "has(self.labels.app) && !has(self.labels.x) && has(self.nothing)", "true"},
                      Row{"has of no map", "has(self.name.x)", "! no such overload"},
                      Row{"JSON numbers", "[type(self.replicas), type(self.ratio)]", "[int, double]"},
                      Row{"variable without value", "unset", "! no such attribute(s): unset"}),
    row_name);

INSTANTIATE_TEST_SUITE_P(
    Macros, CelTest,
    ::testing::Values(Row{"all", "self.ports.all(p, p > 0)", "true"}, Row{"all of nothing", "[].all(x, x > 0)", "true"},
                      Row{"all forgets errors when decided", "[0, 1].all(x, 1 / x > 1)", "false"},
                      Row{"all keeps errors otherwise", "[0, 1].all(x, 1 / x > 0)", "! division by zero"},
                      Row{"exists", "self.containers.exists(c, c.name == 'b')", "true"},
                      Row{"exists forgets errors when decided", "[0, 1].exists(x, 1 / x > 0)", "true"},
                      Row{"exists of nothing", "[].exists(x, x)", "false"},
                      Row{"exists one", "[1, 2, 2].exists_one(x, x == 1)", "true"},
                      Row{"exists one of two", "[1, 2, 2].exists_one(x, x == 2)", "false"},
                      Row{"exists one keeps errors", "[1, 0].exists_one(x, 1 / x == 1)", "! division by zero"},
                      Row{"over a map's keys", "{'a': 1, 'b': 2}.all(k, k < 'c')", "true"},
                      Row{"map", "[1, 2].map(x, x * x)", "[1, 4]"},
                      Row{"map with a condition", "[1, 2, 3].map(x, x > 1, x * 10)", "[20, 30]"},
                      Row{"filter", "[1, 2, 3].filter(x, x % 2 == 1)", "[1, 3]"},
                      Row{"filter of a map gives keys", "{'a': 1, 'b': 2}.filter(k, k == 'b')", "[\"b\"]"},
                      Row{"inner names hide outer ones", "[1].map(n, [2].map(n, n)[0] + n)", "[3]"},
                      Row{"two variables over a list", "[5, 6].all(i, v, v == i + 5)", "true"},
                      Row{"two variables over a map", "{'a': 1}.exists(k, v, k == 'a' && v == 1)", "true"},
                      Row{"transformList", "[5, 6].transformList(i, v, v > 5, i + v)", "[7]"},
                      Row{"transformMap", "{'a': 1, 'b': 2}.transformMap(k, v, v > 1, v * 10)", R"({"b": 20})"},
                      Row{"transformMapEntry", "{'a': 'x'}.transformMapEntry(k, v, {v: k})", R"({"x": "a"})"},
                      Row{"bind", "cel.bind(x, n + 1, x * x)", "64"},
                      Row{"range of nothing", "dyn(1).all(x, true)", "! no such overload"}),
    row_name);

INSTANTIATE_TEST_SUITE_P(
    Conversions, CelTest,
    ::testing::Values(
        Row{"int", "[int(1.9), int(-1.9), int(5u), int('-7'), int(timestamp('1970-01-01T00:01:00Z'))]",
            "[1, -1, 5, -7, 60]"},
        Row{"int of large double", "int(1e99)", "! integer overflow"},
        Row{"int of large uint", "int(18446744073709551615u)", "! integer overflow"},
        Row{"int of text", "int('abc')", "! type conversion error from 'string' to 'int'"},
        Row{"uint of negative", "uint(-1)", "! unsigned integer overflow"},
        Row{"uint", "[uint(1), uint(1.5), uint('2')]", "[1u, 1u, 2u]"},
        Row{"double", "[double(1), double(1u), double('1.25')]", "[1, 1, 1.25]"},
        Row{"string",
            "[string(1), string(1u), string(1.5), string(true), string(b'a'), string(duration('1m')), string(1e21)]",
            R"(["1", "1", "1.5", "true", "a", "60s", "1e+21"])"},
        Row{"string of broken bytes", R"(string(b'\xff'))", "! invalid UTF-8 in bytes, cannot convert to string"},
        Row{"bytes", "bytes('a')", R"(b"a")"}, Row{"bool", "[bool('true'), bool('f')]", "[true, false]"},
        Row{"bool of text", "bool('yes')", "! type conversion error from 'string' to 'bool'"},
        Row{"type of type", "type(type(1)) == type", "true"},
        Row{"types by name",
            "type(duration('1s')) == google.protobuf.Duration && type(null) == null_type && type({}) == map", "true"},
        Row{"no list to int", "int(dyn([]))", "! no such overload"}),
    row_name);

INSTANTIATE_TEST_SUITE_P(
    Time, CelTest,
    ::testing::Values(
        Row{"timestamp", "timestamp('2024-02-29T01:02:03.5+02:00')", "timestamp(\"2024-02-28T23:02:03.5Z\")"},
        Row{"no such day", "timestamp('2023-02-29T00:00:00Z')", "! invalid timestamp \"2023-02-29T00:00:00Z\""},
        Row{"parts",
            "[timestamp('2024-03-01T10:20:30.045Z')].map(t, [t.getFullYear(), t.getMonth(), t.getDate(), "
            "t.getDayOfMonth(), "
            "t.getDayOfYear(), t.getDayOfWeek(), t.getHours(), t.getMinutes(), t.getSeconds(), "
            "t.getMilliseconds()])[0]",
            "[2024, 2, 1, 0, 60, 5, 10, 20, 30, 45]"},
        Row{"in a zone", "timestamp('2024-01-01T00:30:00Z').getHours('-01:00')", "23"},
        Row{"unknown zone", "timestamp('2024-01-01T00:30:00Z').getHours('Mars/Base')", "! unknown time zone Mars/Base"},
        Row{"time and duration", "timestamp('2024-01-01T00:00:00Z') + duration('1h') - duration('1m')",
            "timestamp(\"2024-01-01T00:59:00Z\")"},
        Row{"difference", "timestamp('2024-01-02T00:00:00Z') - timestamp('2024-01-01T00:00:00Z') == duration('24h')",
            "true"},
        Row{"beyond year 9999", "timestamp('9999-12-31T23:59:59Z') + duration('1s')", "! timestamp overflow"},
        Row{"durations overflow", "duration('2540400h') + duration('2540400h')", "! duration overflow"},
        Row{"duration parts",
            "[duration('90m').getHours(), duration('90m').getMinutes(), duration('90m').getSeconds()]",
            "[1, 90, 5400]"},
        Row{"malformed duration", "duration('1x')", "! invalid duration \"1x\""}),
    row_name);

INSTANTIATE_TEST_SUITE_P(
    Strings, CelTest,
    ::testing::Values(
        Row{"size counts code points", "[size(s), s.size()]", "[3, 3]"},
        Row{"contains", "s.contains('ü') && s.startsWith('s') && s.endsWith('ß') && !s.contains('x')", "true"},
        Row{"matches part of it", "'kubernetes'.matches('ber') && !'a'.matches('^b$') && matches('ab', 'b')", "true"},
        Row{"bad pattern", "'a'.matches('(')", "! error parsing regexp: missing ): ("},
        Row{"find", "['abc 123'.find('[0-9]*$'), 'x'.find('y')]", R"(["123", ""])"},
        Row{"findAll", "['a1b22'.findAll('[0-9]+'), 'a1b22'.findAll('[0-9]', 2), 'ab'.findAll('x*')]",
            R"([["1", "22"], ["1", "2"], ["", "", ""]])"},
        Row{"charAt", "[s.charAt(1), s.charAt(3)]", R"(["ü", ""])"},
        Row{"charAt beyond", "s.charAt(4)", "! index out of range: 4"},
        Row{"indexOf",
            "[s.indexOf('ß'), s.indexOf('x'), 'aba'.indexOf('a', 1), 'aba'.lastIndexOf('a'), 'aba'.lastIndexOf('a', "
            "1)]",
            "[2, -1, 2, 2, 0]"},
        Row{"case", "['Aé'.lowerAscii(), 'aé'.upperAscii()]", R"(["aé", "Aé"])"},
        Row{"replace", "['aaa'.replace('a', 'b'), 'aaa'.replace('a', 'b', 2), 'ab'.replace('', '-')]",
            R"(["bbb", "bba", "-a-b-"])"},
        Row{"split", "['a,b,c'.split(','), 'a,b,c'.split(',', 2), 'aé'.split(''), 'a'.split(',', 0)]",
            R"([["a", "b", "c"], ["a", "b,c"], ["a", "é"], []])"},
        Row{"join", "[['a', 'b'].join(), ['a', 'b'].join('-')]", R"(["ab", "a-b"])"},
        Row{"substring", "[s.substring(1), s.substring(1, 2)]", R"(["üß", "ü"])"},
        Row{"substring backwards", "'abc'.substring(2, 1)", "! invalid substring range. start: 2, end: 1"},
        Row{"trim", "' \t a b \\u3000'.trim()", "\"a b\""}, Row{"quote", "strings.quote('a\"b')", R"("\"a\\\"b\"")"}),
    row_name);

INSTANTIATE_TEST_SUITE_P(
    Lists, CelTest,
    ::testing::Values(Row{"isSorted", "[1, 2, 2].isSorted() && !['b', 'a'].isSorted() && [].isSorted()", "true"},
                      Row{"sum", "[[1, 2].sum(), dyn([1.5, 1.5].sum()), dyn([duration('1s')].sum())]",
                          "[3, 3, duration(\"1s\")]"},
                      Row{"sum of nothing", "[].sum()", "0"},
                      Row{"min and max", "[[2, 1, 3].min(), [2, 1, 3].max()]", "[1, 3]"},
                      Row{"min of nothing", "[].min()", "! min called on empty list"},
                      Row{"max of nothing", "[].max()", "! max called on empty list"},
                      Row{"indexOf", "[[1, 2, 1].indexOf(1), [1, 2, 1].lastIndexOf(1), [1].indexOf(5)]", "[0, 2, -1]"},
                      Row{"sets",
                          "sets.contains([1, 2], [2]) && sets.equivalent([1, 2], [2, 1, 1]) && sets.intersects([1], "
                          "[1, 2]) && !sets.intersects([1], [2])",
                          "true"},
                      Row{"size of a map", "[size({'a': 1}), self.ports.size()]", "[1, 2]"}),
    row_name);

INSTANTIATE_TEST_SUITE_P(
    Optionals, CelTest,
    ::testing::Values(
        Row{"optional select", "self.?labels.?app", "optional.of(\"web\")"},
        Row{"chain stays optional", "self.?missing.x.y", "optional.none()"},
        Row{"optional index", "[self.ports[?0], self.ports[?9]]", "[optional.of(80), optional.none()]"},
        Row{"orValue", "[self.?replicas.orValue(1), self.?missing.orValue(1)]", "[3, 1]"},
        Row{"or", "self.?missing.or(self.?name).value()", "\"web\""},
        Row{"hasValue",
            "optional.of(1).hasValue() && !optional.none().hasValue() && !optional.ofNonZeroValue('').hasValue()",
            "true"},
        Row{"value of nothing", "optional.none().value()", "! optional.none() dereference"},
        Row{"optional elements", "[?self.?missing, ?self.?replicas]", "[3]"},
        Row{"optional entries", "{?'a': self.?missing, ?'b': self.?replicas}", R"({"b": 3})"},
        Row{"optMap", "[self.?replicas.optMap(x, x + 1), self.?missing.optMap(x, x + 1)]",
            "[optional.of(4), optional.none()]"},
        Row{"optFlatMap", "self.?labels.optFlatMap(x, x.?tier)", "optional.of(\"front\")"},
        Row{"first and last", "[[1, 2].first().value(), [1, 2].last().value()]", "[1, 2]"},
        Row{"has through an optional", "has(self.?labels.app) && !has(self.?missing.app)", "true"}),
    row_name);

INSTANTIATE_TEST_SUITE_P(
    Kubernetes, CelTest,
    ::testing::Values(
        Row{"quantity compares",
            "quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('1').compareTo(quantity('1000m')) == 0", "true"},
        Row{"quantity equality", "quantity('1') == quantity('1000m')", "true"},
        Row{"quantity arithmetic", "quantity('1k').add(quantity('1')).sub(1).asInteger()", "1000"},
        Row{"quantity forms",
            "isQuantity('1Gi') && !isQuantity('x') && !quantity('50m').isInteger() && quantity('-1').sign() == -1",
            "true"},
        Row{"quantity as number", "quantity('1500m').asApproximateFloat()", "1.5"},
        Row{"quantity not whole", "quantity('1500m').asInteger()", "! cannot convert value to integer"},
        Row{"declared quantity", "device.size.compareTo(quantity('1Gi')) == 0", "true"},
        Row{"semver order",
            "semver('1.10.0').isGreaterThan(semver('1.9.0')) && semver('1.0.0-rc.1').isLessThan(semver('1.0.0'))",
            "true"},
        Row{"semver of semver.org",
            "['1.0.0-alpha', '1.0.0-alpha.1', '1.0.0-alpha.beta', '1.0.0-beta', '1.0.0-beta.2', "
            "'1.0.0-beta.11'].map(v, semver(v))"
            ".map(v, v.compareTo(semver('1.0.0-beta')))",
            "[-1, -1, -1, 0, 1, 1]"},
        Row{"semver parts", "[semver('1.2.3').major(), semver('1.2.3').minor(), semver('1.2.3').patch()]", "[1, 2, 3]"},
        Row{"semver forms",
            "isSemver('1.2.3-a+b') && !isSemver('1.2') && !isSemver('01.2.3') && isSemver('v1.02', true)", "true"}),
    row_name);

INSTANTIATE_TEST_SUITE_P(
    Network, CelTest,
    ::testing::Values(
        Row{"addresses",
            "isIP('127.0.0.1') && isIP('::1') && !isIP('127.0.0.256') && !isIP('fe80::1%eth0') && "
            "!isIP('::ffff:1.2.3.4')",
            "true"},
        Row{"no address", "ip('x')", "! IP Address \"x\" parse error during conversion from string"},
        Row{"address as text", "[string(ip('2001:DB8::0:1')), string(cidr('10.0.0.1/8').masked())]",
            R"(["2001:db8::1", "10.0.0.0/8"])"},
        Row{"canonical", "ip.isCanonical('2001:db8::1') && !ip.isCanonical('2001:DB8::1')", "true"},
        Row{"families", "[ip('1.2.3.4').family(), ip('::1').family()]", "[4, 6]"},
        Row{"kinds of addresses",
            "ip('0.0.0.0').isUnspecified() && ip('127.1.2.3').isLoopback() && ip('224.0.0.1').isLinkLocalMulticast() "
            "&& "
            "ip('fe80::1').isLinkLocalUnicast() && ip('10.0.0.1').isGlobalUnicast() && "
            "!ip('255.255.255.255').isGlobalUnicast()",
            "true"},
        Row{"networks",
            "isCIDR('10.0.0.0/8') && isCIDR('::/0') && !isCIDR('10.0.0.0/33') && !isCIDR('10.0.0.0') && "
            "!isCIDR('10.0.0.0/08')",
            "true"},
        Row{"an address in a network",
            "cidr('192.168.0.0/24').containsIP('192.168.0.1') && !cidr('192.168.0.0/24').containsIP(ip('192.168.1.1')) "
            "&& "
            "!cidr('192.168.0.0/24').containsIP('::1')",
            "true"},
        Row{"a network in a network",
            "cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16') && !cidr('10.1.0.0/16').containsCIDR(cidr('10.0.0.0/8'))",
            "true"},
        Row{"parts of a network",
            "cidr('10.1.2.3/8').ip() == ip('10.1.2.3') && cidr('10.0.0.0/8').prefixLength() == 8 && cidr('10.0.0.0/8') "
            "!= cidr('10.0.0.0/9')",
            "true"},
        Row{"URLs",
            "isURL('https://a/b') && isURL('/path') && !isURL('../path') && !isURL('https://a:b/') && "
            "!isURL('https://a/%zz') && !isURL('')",
            "true"},
        Row{"parts of a URL",
            "[url('HTTPS://u:p@[::1]:80/a b%20c?q=1')].map(u, [u.getScheme(), u.getHost(), u.getHostname(), "
            "u.getPort(), u.getEscapedPath()])[0]",
            R"(["https", "[::1]:80", "::1", "80", "/a%20b%20c"])"},
        Row{"query of a URL", "url('https://a/?k=1&k=x%20y&l&m=a+b').getQuery()",
            R"({"k": ["1", "x y"], "l": [""], "m": ["a b"]})"},
        Row{"no URL", "url('x')",
            "! URL parse error during conversion from string: parse \"x\": invalid URI for request"}),
    row_name);

INSTANTIATE_TEST_SUITE_P(
    Format, CelTest,
    ::testing::Values(Row{"text of anything", "'%s %s %s %s'.format(['a', 1.5, [1, 'b'], {'k': true}])",
                          "\"a 1.5 [1, b] {k: true}\""},
                      Row{"text of times",
                          "'%s %s %s'.format([duration('90s'), timestamp('2024-01-01T00:00:00Z'), null])",
                          "\"90s 2024-01-01T00:00:00Z null\""},
                      Row{"numbers", "'%d %d %b %o %x %X'.format([-3, 4u, 5, 8, 255, 255])", "\"-3 4 101 10 ff FF\""},
                      Row{"hexadecimal text", "'%x'.format(['hé'])", "\"68c3a9\""},
                      Row{"fixed point", "'%f %.2f %.0f'.format([1.5, 2.345, 3])", "\"1.500000 2.35 3\""},
                      Row{"scientific", "'%.3e'.format([1234.5])", "\"1.234e+03\""},
                      Row{"percent", "'100%%'.format([])", "\"100%\""},
                      Row{"wrong type", "'%d'.format(['a'])",
                          "! error during formatting: decimal clause can only be used on integers, was given string"},
                      Row{"too few arguments", "'%s %s'.format([1])", "! index 1 out of range"},
                      Row{"unknown clause", "'%z'.format([1])",
                          "! could not parse formatting clause: unrecognized formatting clause \"z\""}),
    row_name);

INSTANTIATE_TEST_SUITE_P(
    Checker, CelTest,
    ::testing::Values(
        Row{"undeclared variable", "1 + x", "! 1:5: undeclared reference to 'x' (in container '')"},
        Row{"undeclared function", "foo(1)", "! 1:1: undeclared reference to 'foo' (in container '')"},
        Row{"wrong operands", "n + 'a'", "! 1:3: found no matching overload for '_+_' applied to '(int, string)'"},
        Row{"wrong receiver", "n.contains('a')",
            "! 1:3: found no matching overload for 'contains' applied to 'int.(string)'"},
        Row{"wrong argument", "s.contains(1)",
            "! 1:3: found no matching overload for 'contains' applied to 'string.(int)'"},
        Row{"no logic on numbers", "n && true",
            "! 1:1: found no matching overload for '_&&_' applied to '(int, bool)'"},
        Row{"equality of one type", "n == s",
            "! 1:3: found no matching overload for '_==_' applied to '(int, string)'"},
        Row{"numbers of any kind have an order", "n < 7.5 && 1u < n", "true"},
        Row{"undefined field", "device.x", "! 1:8: undefined field 'x'"},
        Row{"field of a number", "n.x", "! 1:3: type 'int' does not support field selection"},
        Row{"map values have a type", "labels.app + 1",
            "! 1:12: found no matching overload for '_+_' applied to '(string, int)'"},
        Row{"lists have a type", "[1].exists(x, x == 'a')",
            "! 1:17: found no matching overload for '_==_' applied to '(int, string)'"},
        Row{"mixed lists are dyn", "[1, 'a'].exists(x, x == 'a')", "true"},
        Row{"condition is a bool", "[1].filter(x, x)", "! 1:15: expected type 'bool' but found 'int'"},
        Row{"range is a list or map", "n.all(x, true)",
            "! 1:1: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)"},
        Row{"both sides of a ternary", "true ? 1 : 'a'",
            "! 1:6: found no matching overload for '_?_:_' applied to '(bool, int, string)'"},
        Row{"null for an object", "device == null", "false"},
        Row{"null is no string", "s == null",
            "! 1:3: found no matching overload for '_==_' applied to '(string, null_type)'"},
        Row{"locals end with their macro", "[1].all(x, true) && x",
            "! 1:21: undeclared reference to 'x' (in container '')"},
        Row{"optional holds a type", "optional.of(1).orValue('a')",
            "! 1:16: found no matching overload for 'orValue' applied to 'optional_type(int).(string)'"}),
    row_name);

TEST(Cel, SaysWhatAnExpressionGivesAndReads) {
  const auto program = compiled("labels.exists(k, k == s) ? [n] : []");
  ASSERT_TRUE(program) << program.error().message();
  EXPECT_EQ(program->result_type().to_string(), "list(int)");
  EXPECT_EQ(program->variables(), (std::vector<std::string>{"labels", "s", "n"}));
}

TEST(Cel, LiteralsAreOfOneTypeWhereThatIsAsked) {
  Environment strict = environment();
  strict.require_homogeneous_literals();
  EXPECT_EQ(compiled("[1, 'a']", strict).error().message(), "1:5: expected type 'int' but found 'string'");
  EXPECT_EQ(compiled("{'a': 1, 'b': 2u}", strict).error().message(), "1:15: expected type 'int' but found 'uint'");
  EXPECT_TRUE(compiled("[1, self.x]", strict));
  EXPECT_TRUE(compiled("'%d %s'.format([1, 'a'])", strict));
  EXPECT_FALSE(compiled("'%s'.format([[1, 'a']])", strict));
}

TEST(Cel, EveryStepIsPaidFor) {
  EXPECT_TRUE(value_of("1 + 1", 3));
  const auto broke = value_of("1 + 1", 2);
  ASSERT_FALSE(broke);
  EXPECT_EQ(broke.error().reason(), Reason::TooManyRequests);
  EXPECT_EQ(broke.error().message(), "operation cancelled: actual cost limit exceeded");
  // What decides || does not hide that nothing is left.
  EXPECT_FALSE(value_of("[1,2,3].map(x, [1,2,3].map(y, x * y)).size() > 100 || true", 40));
  const std::string doubling =
      "cel.bind(a, [1,2,3,4,5,6,7,8], cel.bind(b, a+a+a+a+a+a+a+a, cel.bind(c, b+b+b+b+b+b+b+b, cel.bind(d, "
      "c+c+c+c+c+c+c+c, "
      "cel.bind(e, d+d+d+d+d+d+d+d, cel.bind(f, e+e+e+e+e+e+e+e, cel.bind(g, f+f+f+f+f+f+f+f, g.size())))))))";
  EXPECT_FALSE(value_of(doubling));
}

TEST(Cel, SeveralExpressionsShareOneBudget) {
  const auto program = compiled("n + 1");
  Activation activation;
  activation.set("n", Value::integer(1));
  Budget budget(6);
  EXPECT_TRUE(program->evaluate(activation, budget));
  EXPECT_TRUE(program->evaluate(activation, budget));
  EXPECT_EQ(budget.left(), 0U);
  EXPECT_FALSE(program->evaluate(activation, budget));
}

TEST(Cel, TextsHaveLimits) {
  const auto message = [](const std::string& text, const ParseLimits& limits = {}) {
    const auto parsed = Expression::parse(text, limits);
    return parsed ? std::string() : parsed.error().message();
  };
  EXPECT_EQ(message("1 + 1", {.max_bytes = 4}), "expression code point size exceeds limit: size: 5, limit 4");
  EXPECT_EQ(message(std::string(249, '(') + "1" + std::string(249, ')')), "");
  EXPECT_NE(
      message(std::string(251, '(') + "1" + std::string(251, ')')).find("expression recursion limit exceeded: 250"),
      std::string::npos);
  for (const std::string one : {"!", "-", "["}) {
    std::string deep;
    for (int i = 0; i < 50'000; ++i) deep += one;
    EXPECT_NE(message(deep + "1").find("expression recursion limit exceeded: 250"), std::string::npos) << one;
  }
  std::string sum = "1";
  std::string either = "true";
  for (int i = 0; i < 1000; ++i) {
    sum += "+1";
    either += "||true";
  }
  EXPECT_NE(message(sum).find("expression recursion limit exceeded: 250"), std::string::npos);
  EXPECT_EQ(message(either), "");
  EXPECT_NE(message("'\xff'").find("not UTF-8"), std::string::npos);
}

TEST(Cel, CanBeGivenFunctions) {
  Environment more = environment();
  ASSERT_TRUE(
      more.declare_function("(string).shouted() -> string", [](std::span<const Value> arguments) -> Result<Value> {
        return Value::string(std::string(arguments[0].as_string()) + "!");
      }));
  ASSERT_TRUE(more.declare_function("my.size(list(A)) -> int", [](std::span<const Value> arguments) -> Result<Value> {
    return Value::integer(static_cast<std::int64_t>(arguments[0].size()));
  }));
  const auto program = compiled("'a'.shouted() + string(my.size([1, 2]))", more);
  ASSERT_TRUE(program) << program.error().message();
  Budget budget(kPlenty);
  EXPECT_EQ(program->evaluate({}, budget)->as_string(), "a!2");
  EXPECT_FALSE(compiled("1.shouted()", more));
  EXPECT_FALSE(more.declare_function("nonsense", {}));
  EXPECT_FALSE(compiled("'a'.shouted()"));
}

}  // namespace
}  // namespace kubernel::cel
