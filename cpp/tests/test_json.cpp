#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "io/json.hpp"
#include "io/suggest.hpp"
#include "io_helpers.hpp"
#include "runtime/random.hpp"

using namespace rekur;
using json::Value;
using tests::error_of;

TEST_CASE("json: what is parsed is written back") {
  const std::vector<std::string> same = {"null",
                                         "true",
                                         "false",
                                         "0",
                                         "-7",
                                         "9223372036854775807",
                                         "-9223372036854775808",
                                         "0.1",
                                         "-0.0",
                                         "1e+300",
                                         "5e-324",
                                         "1.0",
                                         "\"\"",
                                         "\"a\\\"\\\\\\n\\t\\u0001\"",
                                         "\"\u00e9\u20ac\U0001F600\"",
                                         "[]",
                                         "{}",
                                         "[1,[2.5,null],{\"a\":{}}]",
                                         "{\"b\":1,\"a\":[true,false]}"};
  for (const std::string& text : same) CHECK(json::write(json::parse(text)) == text);
  CHECK(json::write(json::parse(" { \"a\" : [ 1 , 2 ] ,\r\n\t\"b\" : -0 } ")) == "{\"a\":[1,2],\"b\":-0.0}");
  CHECK(json::parse("\"\\u00e9\\u20AC\\ud83d\\uDE00\\/\\b\\f\\r\"").string() == "\u00e9\u20ac\U0001F600/\b\f\r");
  CHECK(json::parse("\"\\u0000\"").string() == std::string(1, '\0'));
  CHECK(json::parse("1e-400").number() == 0.0);
  CHECK(json::parse("0e999").number() == 0.0);
  CHECK(json::parse("0.0000001e309").number() == 1e302);
  CHECK(std::signbit(json::parse("-12345.6e-99999999999999999999").number()));
}

TEST_CASE("json: integers and doubles are kept apart") {
  CHECK(json::parse("5").is_integer());
  CHECK(json::parse("5.0").is_double());
  CHECK(json::parse("5e0").is_double());
  CHECK(json::parse("5").number() == 5.0);
  CHECK(json::parse("5") != json::parse("5.0"));
  CHECK(json::parse("[1,{\"a\":1,\"b\":2}]") == json::parse("[1,{\"b\":2,\"a\":1}]"));
  CHECK_THROWS_AS(json::parse("5.0").integer(), Error);
  CHECK_THROWS_AS(json::parse("true").integer(), Error);
  CHECK_THROWS_AS(json::parse("1").boolean(), Error);
  CHECK(error_of([] { json::parse("[5]").array()[0].string(); }) == "expected a string, got 5");
}

TEST_CASE("json: every double reads back to the same bits") {
  const random::Stream draws(11, 0, 0);
  for (std::uint64_t i = 0; i < 20000; i += 2) {
    const double x = std::bit_cast<double>((std::uint64_t{draws.bits(i)} << 32) | draws.bits(i + 1));
    if (!std::isfinite(x)) continue;
    const Value back = json::parse(json::write(Value(x)));
    REQUIRE(back.is_double());
    REQUIRE(std::bit_cast<std::uint64_t>(back.number()) == std::bit_cast<std::uint64_t>(x));
  }
}

TEST_CASE("json: what is not JSON is refused, with the place") {
  struct Bad {
    std::string text, message;
  };
  const std::vector<Bad> table = {
      {"", "unexpected end of the text at offset 0"},
      {"  ", "unexpected end of the text at offset 2"},
      {"nul", "expected a value at offset 0"},
      {"True", "expected a value at offset 0"},
      {"NaN", "expected a value at offset 0"},
      {"[Infinity]", "expected a value at offset 1"},
      {"-Infinity", "expected a digit at offset 1"},
      {"1 2", "unexpected text after the value at offset 2"},
      {"{} x", "unexpected text after the value at offset 3"},
      {std::string("1\0", 2), "unexpected text after the value at offset 1"},
      {"[1,]", "expected a value at offset 3"},
      {"[1 2]", "expected ',' or ']' at offset 3"},
      {"[", "unexpected end of the text at offset 1"},
      {"[1", "expected ',' or ']' at offset 2"},
      {"]", "expected a value at offset 0"},
      {"{\"a\":1,}", "expected a key in quotes at offset 7"},
      {"{a:1}", "expected a key in quotes at offset 1"},
      {"{\"a\" 1}", "expected ':' at offset 5"},
      {"{\"a\":}", "expected a value at offset 5"},
      {"{\"a\":1", "expected ',' or '}' at offset 6"},
      {"{'a':1}", "expected a key in quotes at offset 1"},
      {"[{\"a\":1,\"b\":2,\"a\":1}]", "duplicate key \"a\" in the object at offset 1"},
      {"{\"a\":1,\"\\u0061\":2}", "duplicate key \"a\" in the object at offset 0"},
      {"01", "number with a leading zero at offset 0"},
      {"[-01]", "number with a leading zero at offset 1"},
      {"+1", "expected a value at offset 0"},
      {".5", "expected a value at offset 0"},
      {"1.", "expected a digit at offset 2"},
      {"1.e5", "expected a digit at offset 2"},
      {"1e", "expected a digit at offset 2"},
      {"1e+", "expected a digit at offset 3"},
      {"-", "expected a digit at offset 1"},
      {"0x10", "unexpected text after the value at offset 1"},
      {"1e309", "number beyond the range of double at offset 0"},
      {"[-123.4e99999999999999999999]", "number beyond the range of double at offset 1"},
      {"9223372036854775808", "integer beyond 64 bits at offset 0"},
      {"\"abc", "string without an end at offset 0"},
      {"\"abc\\\"", "string without an end at offset 0"},
      {"\"a\nb\"", "control character in a string at offset 2"},
      {std::string("\"a\0\"", 4), "control character in a string at offset 2"},
      {"\"\\x41\"", "unknown escape at offset 1"},
      {"\"\\", "unknown escape at offset 1"},
      {"\"\\u12\"", "expected four hex digits at offset 1"},
      {"\"\\u12g4\"", "expected four hex digits at offset 1"},
      {"\"\\u+123\"", "expected four hex digits at offset 1"},
      {"\"\\u-123\"", "expected four hex digits at offset 1"},
      {"\"\\ud800\"", "lone surrogate at offset 1"},
      {"\"\\ud800\\n\"", "lone surrogate at offset 1"},
      {"\"\\ud800\\u0041\"", "lone surrogate at offset 1"},
      {"\"\\udc00\"", "lone surrogate at offset 1"},
      {"\"a\x80\"", "invalid UTF-8 at offset 2"},
      {"\"\xC3\"", "invalid UTF-8 at offset 1"},
      {"\"\xC0\xAF\"", "invalid UTF-8 at offset 1"},
      {"\"\xE0\x80\xAF\"", "invalid UTF-8 at offset 1"},
      {"\"\xED\xA0\x80\"", "invalid UTF-8 at offset 1"},
      {"\"\xF4\x90\x80\x80\"", "invalid UTF-8 at offset 1"},
      {"\"\xF5\x80\x80\x80\"", "invalid UTF-8 at offset 1"},
      {"\xEF\xBB\xBF{}", "expected a value at offset 0"},
      {"// comment\n1", "expected a value at offset 0"},
  };
  for (const Bad& bad : table) CHECK(error_of([&] { json::parse(bad.text); }) == "JSON: " + bad.message);
}

TEST_CASE("json: depth is limited in reading and in writing") {
  const auto nested = [](int depth) {
    return std::string(static_cast<std::size_t>(depth), '[') + std::string(static_cast<std::size_t>(depth), ']');
  };
  const Value deepest = json::parse(nested(json::kMaxDepth));
  CHECK(json::write(deepest) == nested(json::kMaxDepth));
  CHECK(error_of([&] { json::parse(nested(json::kMaxDepth + 1)); }) == "JSON: more than 64 levels of nesting at offset 64");
  CHECK(error_of([&] { json::parse(std::string(1000000, '[')); }) == "JSON: more than 64 levels of nesting at offset 64");
  CHECK_THROWS_AS(json::write(Value(json::Array{deepest})), Error);
}

TEST_CASE("json: what could not be read is not written") {
  CHECK_THROWS_AS(json::write(Value(std::numeric_limits<double>::quiet_NaN())), Error);
  CHECK_THROWS_AS(json::write(Value(-std::numeric_limits<double>::infinity())), Error);
  CHECK_THROWS_AS(json::write(Value("\xFF")), Error);
  CHECK_THROWS_AS(json::write(Value(json::Object{{"\xFF", 1}})), Error);
}

TEST_CASE("json: an object keeps its order") {
  json::Object object{{"z", 1}, {"a", 2.5}};
  object.set("m", "text");
  object.set("z", false);
  CHECK(json::write(Value(object)) == R"({"z":false,"a":2.5,"m":"text"})");
  CHECK(object.find("a")->number() == 2.5);
  CHECK(object.find("b") == nullptr);
}

TEST_CASE("json: many keys cost no quadratic time") {
#if defined(REKUR_TEST_SANITIZED)
  const std::size_t count = 30000;
#else
  const std::size_t count = 300000;
#endif
  std::string text = "{";
  for (std::size_t i = 0; i < count; ++i) text += (i == 0 ? "\"k" : ",\"k") + std::to_string(i) + "\":0";
  CHECK(json::parse(text + "}").object().size() == count);
  CHECK(error_of([&] { json::parse(text + ",\"k7\":0}"); }) == "JSON: duplicate key \"k7\" in the object at offset 0");
}

TEST_CASE("json: mutated documents give a value or an Error") {
  const std::string seed =
      R"({"layers":[{"type":"LSTM","units":50,"rate":-1.5e-3,"name":"l\u00e9\ud83d\ude00"},null,true],"inputs":["x"]})";
  const random::Stream draws(5, 0, 0);
  std::size_t accepted = 0;
  for (std::uint64_t i = 0; i < 5000; ++i) {
    std::string text = seed;
    const random::Words words = draws.block(4 * i);
    for (std::uint32_t k = 0; k <= words[3] % 3; ++k) text[(words[0] >> k) % text.size()] = static_cast<char>(words[1] >> (8 * k));
    if (words[3] % 5 == 0) text.resize(words[2] % text.size());
    try {
      const Value value = json::parse(text);
      REQUIRE(json::parse(json::write(value)) == value);
      ++accepted;
    } catch (const Error&) {
    }
  }
  CHECK(accepted > 100);
  CHECK(accepted < 4900);
}

TEST_CASE("json: exponents beyond every integer overflow or vanish, and nothing else") {
  const std::string lowest = "-9223372036854775808", highest = "9223372036854775807", beyond = "99999999999999999999";
  for (const std::string& exponent : {lowest, "-" + beyond, std::string("-9223372036854775807")}) {
    for (const char* digits : {"0.1", "1", "123.4", "0.0001", "-0.1", "-7"}) {
      const double value = json::parse(digits + ("e" + exponent)).number();
      CHECK(value == 0);
      CHECK(std::signbit(value) == (digits[0] == '-'));
    }
  }
  for (const std::string& exponent : {highest, beyond, "+" + highest, "+" + beyond}) {
    for (const char* digits : {"0.1", "1", "123.4", "0.0001", "-0.1"}) {
      CHECK(error_of([&] { json::parse(digits + ("E" + exponent)); }) == "JSON: number beyond the range of double at offset 0");
    }
  }
  for (const std::string& exponent : {lowest, highest, beyond, "-" + beyond}) {
    for (const char* zero : {"0", "0.0", "-0.000"}) CHECK(json::parse(zero + ("e" + exponent)).number() == 0);
  }
  CHECK(json::parse("0." + std::string(400, '0') + "1e400").number() == doctest::Approx(0.1));
  CHECK(json::parse("0." + std::string(400, '0') + "1e50").number() == 0);
  CHECK(error_of([] { json::parse("1" + std::string(400, '0') + "e-50"); }) ==
        "JSON: number beyond the range of double at offset 0");
}

TEST_CASE("json: random numbers read as they are written, or overflow, or vanish") {
  const random::Stream draws(6, 0, 0);
  for (std::uint64_t i = 0; i < 20000; ++i) {
    const random::Words words = draws.block(4 * i);
    static constexpr char kCharacters[] = "00123456789999.eE+-";
    std::string text;
    for (std::uint32_t k = 0; k <= words[0] % 40; ++k) {
      text += kCharacters[draws.block(4 * i + 1 + k)[k % 4] % (sizeof kCharacters - 1)];
    }
    if (words[1] % 2 == 0) text = std::to_string(words[2] % 100) + ".5e" + (words[3] % 2 ? "-" : "") + text;
    try {
      const Value value = json::parse(text);
      REQUIRE(json::parse(json::write(value)) == value);
    } catch (const Error&) {
    }
  }
}

TEST_CASE("json::Reader: errors say where, what was expected and what came") {
  const auto message = [](const std::string& text, auto&& read) {
    return error_of([&] {
      const Value value = json::parse(text);
      json::Reader reader(value, "LSTM 'lstm'");
      read(reader);
      reader.finish();
    });
  };
  const auto layer = [](json::Reader& r) {
    r.positive_integer("units");
    r.boolean("use_bias", true);
    r.string("activation", "tanh");
    r.number("rate", 0.5);
  };
  CHECK(message(R"({"units":5,"use_bias":false,"activation":"relu","rate":1})", layer) == "");
  CHECK(message(R"({"units":"5"})", layer) == "LSTM 'lstm': 'units' must be a positive integer, got \"5\"");
  CHECK(message(R"({"units":0})", layer) == "LSTM 'lstm': 'units' must be a positive integer, got 0");
  CHECK(message(R"({"units":5.0})", layer) == "LSTM 'lstm': 'units' must be a positive integer, got 5.0");
  CHECK(message(R"({"units":3000000000})", layer) == "LSTM 'lstm': 'units' must be at most 2147483647, got 3000000000");
  CHECK(message(R"({"unitz":5})", layer) == "LSTM 'lstm': unknown key 'unitz' (did you mean 'units'?)");
  CHECK(message(R"({"x":5})", layer) == "LSTM 'lstm': missing key 'units'");
  CHECK(message(R"({"units":5,"use_bais":true})", layer) == "LSTM 'lstm': unknown key 'use_bais' (did you mean 'use_bias'?)");
  CHECK(message(R"({"units":5,"zzz":true})", layer) == "LSTM 'lstm': unknown key 'zzz' (known: units, use_bias, activation, rate)");
  CHECK(message(R"({"units":5,"use_bias":1})", layer) == "LSTM 'lstm': 'use_bias' must be true or false, got 1");
  CHECK(message(R"({"units":5,"activation":null})", layer) == "LSTM 'lstm': 'activation' must be a string, got null");
  CHECK(message(R"({"units":5,"rate":[1,2]})", layer) == "LSTM 'lstm': 'rate' must be a number, got [1,2]");
  CHECK(message("[]", layer) == "LSTM 'lstm': expected an object, got []");
  CHECK(message(R"({"a":5,"b":{}})", [](json::Reader& r) { r.array("a"), r.object("b"); }) ==
        "LSTM 'lstm': 'a' must be an array, got 5");
  const Value value = json::parse(R"({"a":-3})");
  json::Reader reader(value, "x");
  CHECK(reader.integer("a") == -3);
  CHECK(reader.integer("b", 7) == 7);
}

TEST_CASE("describe cuts long strings between characters") {
  std::string text;
  for (int i = 0; i < 100; ++i) text += "\u00e9";
  const std::string shown = json::describe(Value(text));
  CHECK(json::is_utf8(shown));
  CHECK(shown.size() < 70);
  CHECK(json::describe(Value("\xFF")) == "a string that is not UTF-8");
  CHECK(json::describe(Value(std::nan(""))) == "a number that is not finite");
}

TEST_CASE("suggest finds what was meant and nothing else") {
  const std::vector<std::string> names = {"adam", "adamw", "sgd", "rmsprop"};
  CHECK(suggest("adma", names) == " (did you mean 'adam'?)");
  CHECK(suggest("Adam", names) == " (did you mean 'adam'?)");
  CHECK(suggest("rmsprob", names) == " (did you mean 'rmsprop'?)");
  CHECK(suggest("nadir", names) == "");
  CHECK(suggest("", names) == "");
  CHECK(suggest(std::string(1000000, 'a'), names) == "");
  CHECK(unknown_name("optimizer", "adm", names) == "unknown optimizer 'adm' (did you mean 'adam'?)");
  CHECK(unknown_name("optimizer", "lbfgs", names) == "unknown optimizer 'lbfgs' (known: adam, adamw, sgd, rmsprop)");
}
