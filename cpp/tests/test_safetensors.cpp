#include "io/safetensors.hpp"

#include <doctest/doctest.h>
#if !defined(_WIN32)
#include <sys/stat.h>
#endif

#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "io_helpers.hpp"
#include "runtime/random.hpp"

using namespace rekur;
namespace st = rekur::safetensors;
using tests::error_of;
using tests::TemporaryDirectory;

namespace {

std::string as_text(const std::vector<std::byte>& bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
st::File parse(const std::string& text) { return st::parse(std::as_bytes(std::span(text)), "test"); }

std::string with_length(std::uint64_t length, const std::string& rest) {
  std::string text(8, '\0');
  std::memcpy(text.data(), &length, 8);
  return text + rest;
}
std::string file_of(const std::string& header, std::size_t data_bytes) {
  return with_length(header.size(), header + std::string(data_bytes, '\1'));
}

struct Sample {
  std::vector<float> kernel{1.5f, -2.0f, 3.25f, 0.0f, -0.0f, 1e-45f};
  std::vector<double> slot{0.1, 1e300};
  std::vector<std::int32_t> ids{-1, 2147483647};
  std::vector<std::int64_t> count{std::int64_t{1} << 62};
  std::vector<float> none;
  std::map<std::string, std::string> metadata{{"rekur", "{\"format\":\"rekur\"}"}, {"a", "\u00e9\n\"\\"}};
  st::Views views{{"l/kernel", st::view<float>({2, 3}, kernel)},
                  {"a/slot", st::view<double>({2}, slot)},
                  {"ids", st::view<std::int32_t>({2, 1}, ids)},
                  {"count", st::view<std::int64_t>({}, count)},
                  {"empty", st::view<float>({0, 7}, none)}};
};

}  // namespace

TEST_CASE("safetensors: what is written is read back") {
  const Sample sample;
  const auto check = [&](const st::File& file) {
    CHECK(file.metadata == sample.metadata);
    REQUIRE(file.tensors.size() == 5);
    CHECK(file.tensors.at("l/kernel").shape == Shape{2, 3});
    CHECK(std::memcmp(file.tensors.at("l/kernel").bytes.data(), sample.kernel.data(), 24) == 0);
    CHECK(st::values<float>(file.tensors.at("l/kernel"), "l/kernel") == sample.kernel);
    CHECK(st::values<double>(file.tensors.at("a/slot"), "a/slot") == sample.slot);
    CHECK(st::values<std::int32_t>(file.tensors.at("ids"), "ids") == sample.ids);
    CHECK(st::values<std::int64_t>(file.tensors.at("count"), "count") == sample.count);
    CHECK(file.tensors.at("count").shape.empty());
    CHECK(st::values<float>(file.tensors.at("empty"), "empty").empty());
    CHECK(file.tensors.at("empty").shape == Shape{0, 7});
  };
  const std::vector<std::byte> bytes = st::serialize(sample.metadata, sample.views);
  check(st::parse(bytes));
  CHECK(st::serialize(st::parse(bytes).metadata, st::views(st::parse(bytes))) == bytes);

  const TemporaryDirectory directory;
  st::write(directory.file("m.safetensors"), sample.metadata, sample.views);
  CHECK(tests::read_text(directory.file("m.safetensors")) == as_text(bytes));
  check(st::read(directory.file("m.safetensors")));
  CHECK(directory.entries() == 1);
}

TEST_CASE("safetensors: the bytes are those the reference writer makes") {
  const std::vector<float> values{0, 1, 2, 3, 4, 5};
  const std::string data(reinterpret_cast<const char*>(values.data()), 24);
  // Both of the reference's own tests: one header that needs no padding, one that needs seven spaces.
  CHECK(as_text(st::serialize({}, {{"attn.0", st::view<float>({1, 2, 3}, values)}})) ==
        with_length(64, R"({"attn.0":{"dtype":"F32","shape":[1,2,3],"data_offsets":[0,24]}})" + data));
  CHECK(as_text(st::serialize({}, {{"attn0", st::view<float>({1, 1, 2, 3}, values)}})) ==
        with_length(72, R"({"attn0":{"dtype":"F32","shape":[1,1,2,3],"data_offsets":[0,24]}}       )" + data));
  CHECK(as_text(st::serialize({}, {})) == with_length(8, "{}      "));
  CHECK(as_text(st::serialize({{"framework", "pt"}}, {})) == with_length(40, R"({"__metadata__":{"framework":"pt"}}     )"));
}

TEST_CASE("safetensors: larger types first, then by name") {
  const Sample sample;
  const std::string text = as_text(st::serialize({}, sample.views));
  std::size_t last = 0;
  for (const char* tensor : {"\"count\"", "\"a/slot\"", "\"empty\"", "\"l/kernel\"", "\"ids\""}) {
    const std::size_t at = text.find(tensor);
    REQUIRE(at != text.npos);
    CHECK(at > last);
    last = at;
  }
}

TEST_CASE("safetensors: a file cut anywhere is refused") {
  const Sample sample;
  const std::string text = as_text(st::serialize(sample.metadata, sample.views));
  REQUIRE_NOTHROW(parse(text));
  for (std::size_t n = 0; n < text.size(); ++n) {
    const std::string cut = text.substr(0, n);
    REQUIRE_THROWS_AS(parse(cut), IoError);
  }
  REQUIRE_THROWS_AS(parse(text + '\0'), IoError);
}

TEST_CASE("safetensors: hostile headers are refused and the fault is named") {
  struct Bad {
    std::string header;
    std::size_t data;
    std::string message;
  };
  const std::string a = R"("a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]})";
  const std::vector<Bad> table = {
      {"{" + a + "}", 7, "the header describes 8 bytes of data, the file has 7"},
      {"{" + a + "}", 9, "the header describes 8 bytes of data, the file has 9"},
      {"{}", 1, "the header describes 0 bytes of data, the file has 1"},
      {" {" + a + "}", 8, "the header does not begin with '{'"},
      {"", 0, "the header does not begin with '{'"},
      {"[]", 0, "the header does not begin with '{'"},
      {"{" + a + "}x", 8, "JSON: unexpected text after the value at offset 54"},
      {"{" + a + "," + a + "}", 8, "JSON: duplicate key \"a\" in the object at offset 0"},
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8, "JSON: duplicate key \"dtype\""},
      {"{\"\xFF\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "JSON: invalid UTF-8 at offset 2"},
      {"{" + a + R"(,"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12,
       "tensor \"b\": its data begin at byte 4, not where"},
      {"{" + a + R"(,"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8, "its data begin at byte 0, not where"},
      {"{" + a + R"(,"b":{"dtype":"F32","shape":[2],"data_offsets":[12,20]}})", 20,
       "tensor \"b\": its data begin at byte 12, not where"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})", 12, "tensor \"a\": its data begin at byte 4, not where"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}})", 8, "with begin <= end"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}})", 8, "'data_offsets' must be [begin, end], got [0,8,8]"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}})", 8,
       "'data_offsets' must be an array of integers, none negative"},
      {R"({"a":{"dtype":"F32","shape":[2.0],"data_offsets":[0,8]}})", 8, "'shape' must be an array of integers, none negative"},
      {R"({"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}})", 8,
       "'shape' must be an array of integers, none negative, got [-2]"},
      {R"({"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", 8, "'shape' must be an array, got 2"},
      {R"({"a":{"dtype":"F64","shape":[2],"data_offsets":[0,8]}})", 8, "shape (2,) of F64 does not take the 8 bytes"},
      {R"({"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,8]}})", 8, "shape (2,) of BF16 does not take the 8 bytes"},
      {R"({"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}})", 8,
       "'dtype' must be a type known here, such as \"F32\", got \"F33\""},
      {R"({"a":{"dtype":"f32","shape":[2],"data_offsets":[0,8]}})", 8, "'dtype' must be a type known here"},
      {R"({"a":{"dtype":5,"shape":[2],"data_offsets":[0,8]}})", 8, "'dtype' must be a string, got 5"},
      {R"({"a":{"shape":[2],"data_offsets":[0,8]}})", 8, "tensor \"a\": missing key 'dtype'"},
      {R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", 8, "tensor \"a\": missing key 'shape'"},
      {R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":0}})", 8, "tensor \"a\": unknown key 'x'"},
      {R"({"a":[0,8]})", 8, "tensor \"a\": expected an object"},
      {R"({"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}})", 0, ""},
      {R"({"a":{"dtype":"F32","shape":[2305843009213693952],"data_offsets":[0,0]}})", 0, ""},
      {R"({"a":{"dtype":"F32","shape":[4611686018427387904,4,0],"data_offsets":[0,0]}})", 0, ""},
      {R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", 0, ""},
      {R"({"a":{"dtype":"F32","shape":[99999999999],"data_offsets":[0,399999999996]}})", 8,
       "the header describes 399999999996 bytes"},
      {R"({"a":{"dtype":"F32","shape":[18446744073709551618],"data_offsets":[0,8]}})", 8, "JSON: integer beyond 64 bits"},
      {R"({"__metadata__":{"a":1}})", 0, "'__metadata__' must hold strings only, got 1"},
      {R"({"__metadata__":[]})", 0, "'__metadata__' must be an object, got []"},
      {R"({"__metadata__":null})", 0, "'__metadata__' must be an object, got null"},
  };
  for (const Bad& bad : table) {
    INFO(bad.header);
    const std::string text = file_of(bad.header, bad.data);
    REQUIRE_THROWS_AS(parse(text), IoError);
    const std::string message = error_of([&] { parse(text); });
    CHECK(message.starts_with("cannot read test: "));
    CHECK(message.find(bad.message) != message.npos);
  }
  CHECK(error_of([] { parse("short"); }) == "cannot read test: too short for a safetensors file (5 bytes)");
  for (const std::uint64_t length :
       {std::uint64_t{3}, std::uint64_t{100'000'000}, std::uint64_t{100'000'001}, ~std::uint64_t{0}, ~std::uint64_t{7}}) {
    REQUIRE_THROWS_AS(parse(with_length(length, "{}")), IoError);
  }
  CHECK(parse(with_length(2, "{}")).tensors.empty());
}

TEST_CASE("safetensors: every type of the format is read, in any order of the header") {
  const st::File file = parse(
      file_of(R"({"b":{"dtype":"BF16","shape":[3],"data_offsets":[9,15]},"z":{"dtype":"U8","shape":[0],"data_offsets":[9,9]},)"
              R"("a":{"shape":[9],"data_offsets":[0,9],"dtype":"BOOL"},"s":{"dtype":"U64","shape":[],"data_offsets":[15,23]}}   )",
              23));
  CHECK(file.tensors.at("b").type == st::Type::bf16);
  CHECK(file.tensors.at("a").bytes.size() == 9);
  CHECK(file.tensors.at("z").bytes.empty());
  CHECK(error_of([&] { st::values<float>(file.tensors.at("b"), "b"); }) == "tensor \"b\": expected F32, got BF16");
  CHECK(st::name(st::Type::u64) == "U64");
  CHECK(st::size(st::Type::c64) == 8);
}

TEST_CASE("safetensors: what no reader would take is not written") {
  const std::vector<float> two{1, 2};
  CHECK(error_of([&] { st::serialize({}, {{"a", st::view<float>({3}, two)}}); }) ==
        "tensor \"a\": shape (3,) of F32 takes 12 bytes, got 8");
  CHECK_THROWS_AS(st::serialize({}, {{"__metadata__", st::view<float>({2}, two)}}), Error);
  CHECK_THROWS_AS(st::serialize({}, {{"\xFF", st::view<float>({2}, two)}}), Error);
  CHECK_THROWS_AS(st::serialize({{"a", "\xFF"}}, {}), Error);
  CHECK_THROWS_AS(st::serialize({}, {{"a", st::view<float>({kUnknown, 2}, two)}}), Error);
}

TEST_CASE("safetensors: paths that are no readable file") {
  const TemporaryDirectory directory;
  const std::string missing = directory.file("missing"), cut = directory.file("cut");
  CHECK(error_of([&] { st::read(missing); }) == "cannot read '" + missing + "': No such file or directory");
  CHECK(error_of([&] { st::read(directory.path().string()); }) ==
        "cannot read '" + directory.path().string() + "': Is a directory");
#if defined(_WIN32)
  CHECK(error_of([&] { st::read("NUL"); }) == "cannot read 'NUL': not a regular file");
  CHECK(error_of([&] { st::read("\xff"); }) == "cannot read '\xff': the path is not UTF-8");
#else
  const std::string pipe = directory.file("pipe");
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(error_of([&] { st::read(pipe); }) == "cannot read '" + pipe + "': not a regular file");
#endif
  tests::write_text(cut, with_length(50, "{}"));
  CHECK(error_of([&] { st::read(cut); }) == "cannot read '" + cut + "': truncated: a header of 50 bytes in a file of 10");
  CHECK_THROWS_AS(st::read(std::string("a\0b", 3)), IoError);
}

TEST_CASE("safetensors: mutated files are read or refused") {
  const Sample sample;
  const std::string seed = as_text(st::serialize(sample.metadata, sample.views));
  const std::size_t header_end = 8 + static_cast<unsigned char>(seed[0]) + 256u * static_cast<unsigned char>(seed[1]);
  const random::Stream draws(9, 0, 0);
  static constexpr std::string_view kLikely = "0123456789,:\"{}[]- ";
  std::size_t accepted = 0;
  for (std::uint64_t i = 0; i < 6000; ++i) {
    std::string text = seed;
    const random::Words words = draws.block(4 * i), more = draws.block(4 * i + 100000);
    for (std::uint32_t k = 0; k <= words[3] % 3; ++k) {
      const std::size_t at = (words[0] >> (4 * k)) % (more[0] % 8 == 0 ? 8 : header_end);
      text[at] = more[1] % 4 == 0 ? static_cast<char>(words[1] >> (8 * k)) : kLikely[(words[1] >> (5 * k)) % kLikely.size()];
    }
    if (more[2] % 6 == 0) text.erase(words[2] % text.size(), more[3] % 9);
    if (more[2] % 6 == 1) text.insert(words[2] % text.size(), more[3] % 9, kLikely[more[3] % kLikely.size()]);
    try {
      const st::File file = parse(text);
      REQUIRE_NOTHROW(st::serialize(file.metadata, st::views(file)));
      ++accepted;
    } catch (const IoError&) {
    }
  }
  CHECK(accepted > 10);
  CHECK(accepted < 5000);
}
