// Rankings, Decoder, Generator: against sorting, against what predict says of every sequence, and against each other.
#include "rekur/decode.hpp"

#if REKUR_SEQUENCE

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "each_isa.hpp"
#include "stream_helpers.hpp"

using namespace rekur;
using namespace rekur::test;

namespace {

constexpr float kInf = std::numeric_limits<float>::infinity(), kNaN = std::numeric_limits<float>::quiet_NaN();
using Labels = std::vector<std::int32_t>;

struct Ranked {
  std::vector<float> values;
  Labels places;
  double log_sum;
};

// By sorting; of numbers that are all there.
Ranked sorted(std::span<const float> x, Index count) {
  Labels order(x.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](auto a, auto b) { return x[static_cast<std::size_t>(a)] > x[static_cast<std::size_t>(b)]; });
  Ranked r;
  for (std::size_t i = 0; i < std::min(x.size(), static_cast<std::size_t>(count)); ++i) {
    r.places.push_back(order[i]);
    r.values.push_back(x[static_cast<std::size_t>(order[i])]);
  }
  const double largest = std::isfinite(r.values[0]) ? static_cast<double>(r.values[0]) : 0.0;
  double sum = 0;
  for (const float v : x) sum += std::exp(static_cast<double>(v) - largest);
  r.log_sum = largest + std::log(sum);
  return r;
}

// A row in pieces of so many numbers.
Ranked ranked(const simd::Kernels& kernels, std::span<const float> x, Index count, Index piece) {
  std::vector<float> values(static_cast<std::size_t>(count) + 1, 777.0f);
  Labels places(values.size(), 777);
  simd::RankedRow row{count, values.data(), places.data()};
  const auto n = static_cast<Index>(x.size());
  for (Index i = 0; i < n; i += piece) kernels.rank(x.data() + i, std::min(piece, n - i), i, row);
  CHECK(values.back() == 777.0f);
  CHECK(places.back() == 777);
  values.resize(static_cast<std::size_t>(row.filled));
  places.resize(static_cast<std::size_t>(row.filled));
  const double largest = std::isfinite(row.largest) ? static_cast<double>(row.largest) : 0.0;
  return {values, places, largest + std::log(row.sum)};
}

bool close(double a, double b, double tolerance = 1e-5) { return a == b || std::abs(a - b) <= tolerance * (1 + std::abs(b)); }

// ids -> Embedding -> GRU -> Dense: a model of labels.
std::string language(Index classes, const std::string& options = "", Index units = 7) {
  return spec(input("x", "[null]", "int32") + ", " +
                  layer("Embedding", "e", R"("x")", R"("output_dim": 5, "input_dim": )" + std::to_string(classes)) + ", " +
                  layer("GRU", "g", R"("e")", R"("return_sequences": true, "units": )" + std::to_string(units)) + ", " +
                  layer("Dense", "d", R"("g")", R"("units": )" + std::to_string(classes) + options),
              R"("x")", R"("d")");
}

// … whose every step attends to a memory, and which begins with a state.
std::string attending(Index classes) {
  return spec(input("x", "[null]", "int32") + ", " + input("memory", "[null, 6]") + ", " + input("h", "[6]") + ", " +
                  layer("Embedding", "e", R"("x")", R"("output_dim": 5, "input_dim": )" + std::to_string(classes)) + ", " +
                  layer("GRU", "g", R"("e", "h")", R"("return_sequences": true, "units": 6)") + ", " +
                  layer("Attention", "a", R"("g", "memory")", R"("return_attention_scores": true)") + ", " +
                  layer("Dense", "d", R"("a:0")", R"("units": )" + std::to_string(classes)),
              R"("x", "memory", "h")", R"("d", "a:1")");
}

// ln p of each class behind labels of one sequence.
std::vector<double> expected(const Model& model, const Labels& labels, const Data* given = nullptr) {
  Data data;
  data.add_ids({1, static_cast<Index>(labels.size())}, labels);
  if (given != nullptr)
    for (std::size_t i = 0; i < given->shapes.size(); ++i) data.add(given->shapes[i], given->floats[i], given->lengths[i]);
  const Tensor y = model.predict(data.batch())[0];
  const Index classes = y.shape.back();
  const std::span<const float> last(y.data.data() + static_cast<Index>(y.data.size()) - classes, static_cast<std::size_t>(classes));
  const double log_sum = sorted(last, 1).log_sum;
  std::vector<double> log_p;
  for (const float z : last) log_p.push_back(static_cast<double>(z) - log_sum);
  return log_p;
}

double log_p_of(const Model& model, Labels prompt, const Labels& labels, std::int32_t end, const Data* given = nullptr) {
  double sum = 0;
  Labels whole = labels;
  if (end >= 0) whole.push_back(end);
  for (const std::int32_t label : whole) {
    sum += expected(model, prompt, given)[static_cast<std::size_t>(label)];
    prompt.push_back(label);
  }
  return sum;
}

std::vector<Labels> labels_of(const Decoded& decoded) {
  std::vector<Labels> labels;
  for (const auto& row : decoded.rows)
    for (const DecodedPath& path : row) labels.push_back(path.labels);
  return labels;
}

}  // namespace

TEST_CASE("rank: the greatest numbers in their order, the first of equal ones first, whatever the pieces") {
  each_isa([](const simd::Kernels& kernels) {
    for (const Index n : {1, 2, 3, 5, 7, 17, 31, 33, 63, 64, 65, 129, 1000})
      for (const std::string kind : {"noise", "equal", "few values", "rising", "falling", "infinite", "minus infinite", "huge"}) {
        std::vector<float> x = noise(n, 3);
        for (std::size_t i = 0; i < x.size(); ++i) {
          if (kind == "equal") x[i] = 0.25f;
          if (kind == "few values") x[i] = std::round(3 * x[i]);
          if (kind == "rising") x[i] = static_cast<float>(i);
          if (kind == "falling") x[i] = -static_cast<float>(i);
          if (kind == "minus infinite" && i % 3 != 2) x[i] = -kInf;
          if (kind == "huge") x[i] *= 3e38f;
        }
        if (kind == "infinite") x[x.size() / 2] = kInf;
        for (const Index count : {Index{1}, Index{2}, Index{3}, Index{6}, n, n + 3})
          for (const Index piece : {n, Index{1}, Index{7}, Index{64}}) {
            INFO(kind << ", " << n << " numbers, " << count << " wanted, pieces of " << piece);
            const Ranked found = ranked(kernels, x, count, piece), right = sorted(x, count);
            CHECK(found.values == right.values);
            CHECK(found.places == right.places);
            CHECK(close(found.log_sum, right.log_sum));
          }
      }
  });
}

TEST_CASE("rank: a NaN is none of them, and the sum says so") {
  each_isa([](const simd::Kernels& kernels) {
    for (const Index n : {1, 2, 5, 17, 65, 200})
      for (const Index at : {Index{0}, n / 2, n - 1})
        for (const Index piece : {n, Index{7}}) {
          std::vector<float> x = noise(n, 3);
          x[static_cast<std::size_t>(at)] = kNaN;
          const Ranked found = ranked(kernels, x, 3, piece);
          CHECK(std::isnan(found.log_sum));
          CHECK(std::none_of(found.values.begin(), found.values.end(), [](float v) { return std::isnan(v); }));
        }
  });
}

TEST_CASE("rank: the last product and its ranking together give what the sums sorted give, of every kind of weights") {
  struct Case {
    Index in, units;
    std::string options;
    WeightType weights = WeightType::float32;
  };
  std::vector<Case> cases;
  for (const Index units : {1, 2, 3, 17, 65, 511, 512, 513, 1500})
    for (const std::string options : {"", R"(, "activation": "softmax")", R"(, "use_bias": false)"})
      cases.push_back({7, units, options});
  for (const WeightType type : {WeightType::bf16, WeightType::fp16}) cases.push_back({40, 1501, "", type});
  for (const Index units : {65, 700}) cases.push_back({64, units, R"(, "precision": "int8")"});
  for (const Index units : {65, 700}) cases.push_back({64, units, R"(, "precision": "bf16")"});
  cases.push_back({300, 3, ""});  // few outputs
  cases.push_back({300, 3, R"(, "activation": "softmax")"});
  cases.push_back({7, 40, R"(, "activation": "softplus")"});  // not to be ranked by its sums
  each_isa([&](const simd::Kernels&) {
    for (const Case& c : cases) {
      INFO(c.in << " to " << c.units << c.options << ", weights " << static_cast<int>(c.weights));
      Model model = random_model(language(c.units, c.options, c.in), 1.0f);
      model.round_weights(c.weights);
      for (const Index batch : {1, 2, 17}) {
        Labels labels(static_cast<std::size_t>(batch));
        std::vector<Labels> prompts;
        for (std::size_t i = 0; i < labels.size(); ++i) {
          labels[i] = static_cast<std::int32_t>(i) % static_cast<std::int32_t>(c.units);
          prompts.push_back({labels[i]});
        }
        Generator plain(model, batch, {.logits = true});
        REQUIRE(plain.read(labels));
        const std::span<const float> all = plain.logits();
        const Decoder decoder(model, {.logits = true});
        for (const Index count : {Index{1}, std::min<Index>(6, c.units), std::min<Index>(65, c.units)}) {
          const Decoded found = decoder.decode({}, prompts, {.steps = 1, .beam_width = count, .top_paths = count});
          for (std::size_t row = 0; row < labels.size(); ++row) {
            const Ranked right =
                sorted(all.subspan(row * static_cast<std::size_t>(c.units), static_cast<std::size_t>(c.units)), count);
            REQUIRE(found.rows[row].size() == right.values.size());
            Labels places;
            double worst = 0;
            for (std::size_t i = 0; i < right.values.size(); ++i) {
              const DecodedPath& path = found.rows[row][i];
              places.insert(places.end(), path.labels.begin(), path.labels.end());
              worst = std::max(worst, std::abs(path.log_p - (static_cast<double>(right.values[i]) - right.log_sum)));
            }
            CHECK(worst < 2e-5);
            CHECK(places == right.places);
          }
        }
        // The sums are those that predict gives.
        if (c.options.find("activation") != std::string::npos) continue;
        Data data;
        data.add_ids({batch, 1}, labels);
        CHECK(same(model.predict(data.batch())[0].data, {all.begin(), all.end()}));
      }
    }
  });
}

TEST_CASE("decoder: greedy is the most probable label each time") {
  each_isa([](const simd::Kernels&) {
    for (const std::string options : {"", R"(, "activation": "softmax")"}) {
      const Model model = random_model(language(9, options), 2.0f), logits = random_model(language(9), 2.0f);
      const Decoder decoder(model);
      CHECK(decoder.classes() == 9);
      CHECK(decoder.beginnings().empty());
      const std::vector<Labels> prompts{{1}, {2, 8, 3}, {4, 5}};
      const Decoded decoded = decoder.decode({}, prompts, {.steps = 6, .end = 0});
      REQUIRE(decoded.rows.size() == 3);
      for (std::size_t row = 0; row < 3; ++row) {
        const DecodedPath& path = decoded.rows[row][0];
        Labels so_far = prompts[row];
        bool ended = false;
        for (int k = 0; k < 6 && !ended; ++k) {
          const std::vector<double> p = expected(logits, so_far);
          so_far.push_back(static_cast<std::int32_t>(std::max_element(p.begin(), p.end()) - p.begin()));
          ended = so_far.back() == 0;
        }
        if (ended) so_far.pop_back();
        CHECK(path.labels == Labels(so_far.begin() + static_cast<std::ptrdiff_t>(prompts[row].size()), so_far.end()));
        CHECK(path.ended == ended);
        CHECK(close(path.log_p, log_p_of(logits, prompts[row], path.labels, ended ? 0 : -1)));
        CHECK(path.score == path.log_p);
      }
    }
  });
}

TEST_CASE("decoder: a beam that keeps all finds the best of all sequences") {
  const Model model = random_model(language(4), 1.5f);
  const Decoder decoder(model);
  for (const float length_penalty : {0.0f, 1.5f}) {
    const DecodeOptions options{
        .steps = 3, .start = 2, .end = 1, .beam_width = 100, .top_paths = 100, .length_penalty = length_penalty};
    const std::vector<Labels> prompts{{2}};
    const Decoded decoded = decoder.decode({}, prompts, options);
    std::vector<DecodedPath> all;
    const auto grow = [&](auto&& self, const Labels& labels) -> void {
      const bool full = labels.size() == 3;
      DecodedPath path{labels, log_p_of(model, {2}, labels, full ? -1 : 1), 0, !full};
      path.score = path.log_p / std::pow((5.0 + static_cast<double>(labels.size() + (full ? 0 : 1))) / 6.0, length_penalty);
      all.push_back(path);
      if (full) return;
      for (const std::int32_t label : {0, 2, 3}) {
        Labels more = labels;
        more.push_back(label);
        self(self, more);
      }
    };
    grow(grow, {});
    std::sort(all.begin(), all.end(), [](const DecodedPath& a, const DecodedPath& b) { return a.score > b.score; });
    REQUIRE(decoded.rows[0].size() == all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
      CHECK(decoded.rows[0][i].labels == all[i].labels);
      CHECK(decoded.rows[0][i].ended == all[i].ended);
      CHECK(close(decoded.rows[0][i].score, all[i].score));
    }
  }
}

TEST_CASE("decoder: rows that a memory is whole for, of any lengths, as each of them alone") {
  each_isa([](const simd::Kernels&) {
    const Model model = random_model(attending(7), 1.5f);
    const Decoder decoder(model, {.whole = {"memory"}, .attention = 1});
    REQUIRE(decoder.beginnings().size() == 2);
    CHECK(decoder.beginnings()[0].name == "memory");
    CHECK(decoder.beginnings()[1].name == "h");
    constexpr Index N = 70, S = 9;  // more than go together
    std::vector<std::int32_t> lengths(N);
    for (Index i = 0; i < N; ++i) lengths[static_cast<std::size_t>(i)] = static_cast<std::int32_t>(1 + i % S);
    Data given;
    given.add(Shape{N, S, 6}, numbers(N * S * 6, 5), lengths).add(Shape{N, 6}, numbers(N * 6, 6));
    const DecodeOptions options{
        .steps = 5, .start = 3, .end = 0, .beam_width = 3, .top_paths = 2, .length_penalty = 0.5f, .coverage_penalty = 0.2f};
    const int threads = num_threads();
    std::vector<Labels> first;
    for (const int n : {1, 2, 3}) {
      set_num_threads(n);
      const std::vector<Labels> labels = labels_of(decoder.decode(given.batch(), {}, options));
      if (n == 1) first = labels;
      CHECK(labels == first);
    }
    set_num_threads(threads);
    const Decoded decoded = decoder.decode(given.batch(), {}, options);
    for (Index row = 0; row < N; row += 23) {
      const Index length = lengths[static_cast<std::size_t>(row)];
      Data one;
      const auto at = given.floats[0].begin() + row * S * 6, h = given.floats[1].begin() + row * 6;
      one.add(Shape{1, length, 6}, {at, at + length * 6}).add(Shape{1, 6}, {h, h + 6});
      const Decoded alone = decoder.decode(one.batch(), {}, options);
      const std::vector<DecodedPath>& paths = decoded.rows[static_cast<std::size_t>(row)];
      REQUIRE(alone.rows[0].size() == paths.size());
      for (std::size_t i = 0; i < paths.size(); ++i) {
        CHECK(alone.rows[0][i].labels == paths[i].labels);
        CHECK(alone.rows[0][i].score == paths[i].score);
        CHECK(close(paths[i].log_p, log_p_of(model, {3}, paths[i].labels, paths[i].ended ? 0 : -1, &one)));
        CHECK(paths[i].score <= paths[i].log_p / std::pow((5.0 + 5.0) / 6.0, 0.5) + 1e-6);
      }
    }
  });
}

TEST_CASE("decoder: what a prompt of own labels leads to is drawn as it was") {
  const Model model = random_model(language(9), 2.0f);
  const Decoder decoder(model);
  for (const Sampling& sampling : {Sampling{.seed = 5}, Sampling{.top_k = 4, .seed = 5}, Sampling{.top_p = 0.7f, .seed = 5},
                                   Sampling{.temperature = 0.5f, .repetition_penalty = 1.5f, .seed = 5}}) {
    const std::vector<Labels> prompts{{1, 2}, {3, 4}};
    const std::vector<Labels> all = labels_of(decoder.decode({}, prompts, {.steps = 12, .sample = true, .sampling = sampling}));
    std::vector<Labels> longer = prompts;
    for (std::size_t i = 0; i < 2; ++i) longer[i].insert(longer[i].end(), all[i].begin(), all[i].begin() + 5);
    const std::vector<Labels> rest = labels_of(decoder.decode({}, longer, {.steps = 7, .sample = true, .sampling = sampling}));
    Generator generator(model, 2);
    for (std::size_t k = 0; k < 2; ++k) CHECK(generator.read(Labels{prompts[0][k], prompts[1][k]}));
    for (std::size_t k = 0; k < 12; ++k) {
      Labels labels(2);
      REQUIRE(generator.next(sampling, labels));
      for (std::size_t i = 0; i < 2; ++i) {
        CHECK(labels[i] == all[i][k]);
        if (k >= 5) CHECK(rest[i][k - 5] == all[i][k]);
      }
    }
  }
}

TEST_CASE("decoder: reading a prompt with labels mixed in") {
  const Model model = random_model(language(9), 2.0f);
  const Decoder decoder(model);
  std::vector<Labels> prompts(100, Labels{1, 2, 3, 4, 5, 6, 7, 8});
  prompts[1] = {4};
  for (const float rate : {0.25f, 1.0f}) {
    const Decoded decoded = decoder.decode({}, prompts, {.steps = 1, .sample = true, .sampling = {.seed = 2}, .mixed = rate});
    int replaced = 0, total = 0;
    for (std::size_t row = 0; row < prompts.size(); ++row) {
      const Labels& read = decoded.rows[row][0].labels;
      REQUIRE(read.size() == prompts[row].size());
      CHECK(read[0] == prompts[row][0]);
      for (std::size_t k = 1; k < read.size(); ++k) replaced += read[k] != prompts[row][k], ++total;
    }
    CHECK(replaced > 0.6f * rate * static_cast<float>(total));
    CHECK(replaced <= 1.2f * rate * static_cast<float>(total));
  }
}

TEST_CASE("decoder: what does not fit is refused by name") {
  const Model model = random_model(language(9));
  const Decoder decoder(model);
  const std::vector<Labels> one{{1}};
  const auto said = [&](const DecodeOptions& options, std::vector<Labels> prompts = {{1}}) {
    return message_of([&] { decoder.decode({}, prompts, options); });
  };
  contains(said({.steps = 0}), "steps must be at least 1, got 0");
  contains(said({.end = 9}), "end: expected a label below 9");
  contains(said({.beam_width = 0}), "beam_width must be at least 1");
  contains(said({.beam_width = 2, .top_paths = 3}), "top_paths must be from 1 to the beam width, 2, got 3");
  contains(said({.sample = true, .beam_width = 2}), "beam_width must be 1");
  contains(said({.sample = true, .sampling = {.temperature = -1}}), "temperature");
  contains(said({.sample = true, .sampling = {.temperature = kNaN}}), "temperature");
  contains(said({.sample = true, .sampling = {.top_k = -1}}), "top_k");
  contains(said({.sample = true, .sampling = {.top_p = 0}}), "top_p");
  contains(said({.sample = true, .sampling = {.repetition_penalty = 0}}), "repetition_penalty");
  contains(said({.length_penalty = kInf}), "penalties must be finite");
  contains(said({.coverage_penalty = 1}), "coverage_penalty: the model has no output");
  contains(said({.mixed = 0.5f}), "mixed is for prompts");
  contains(said({.sample = true, .mixed = 2}), "mixed must be from 0 to 1");
  contains(said({}, {{1}, {}}), "the prompt of row 1 is empty");
  contains(said({}, {{1}, {9}}), "the prompt of row 1 has label 9, which is not in 0 to 8");
  contains(said({}, {{-1}}), "has label -1");
  contains(said({.start = -1}, {}), "start: expected a label from 0 to 8");
  CHECK(decoder.decode({}, {}, {.start = 0}).rows.empty());
  Data given;
  given.add_random({1, 3});
  contains(message_of([&] { decoder.decode(given.batch(), one, {}); }), "expected 0 arrays to begin with, got 1");

  const Model with_memory = random_model(attending(7));
  contains(message_of([&] { Decoder(with_memory, {.whole = {"mem"}}); }), "no input 'mem' that could be whole");
  contains(message_of([&] { Decoder(with_memory, {.whole = {"memory"}, .attention = 2}); }),
           "attention: expected one of the outputs");
  contains(message_of([&] { Decoder(with_memory, {.whole = {"memory"}, .attention = 0}); }),
           "attention: expected one of the outputs");
  const Decoder other(with_memory, {.whole = {"memory"}});
  const auto refused = [&](const Data& data, std::vector<Labels> prompts = {}) {
    return message_of([&] { other.decode(data.batch(), prompts, {.start = 1}); });
  };
  contains(refused({}), "expected 2 arrays to begin with, got 0");
  contains(refused(Data().add_random({2, 3, 6}).add_random({3, 6})), "'h': expected 2 rows, got 3");
  contains(refused(Data().add_random({2, 3, 5}).add_random({2, 6})), "'memory': expected float32 of shape");
  contains(refused(Data().add_random({2, 3, 6}, {3}).add_random({2, 6})), "'memory': lengths or mask do not fit");
  contains(refused(Data().add_random({2, 3, 6}, {3, 4}).add_random({2, 6})), "length 4");
  contains(refused(Data().add_random({2, 3, 6}).add_random({2, 6}), {{1}}), "'memory': expected 1 rows, got 2");

  const Model numbers_alone =
      random_model(spec(input("x", "[null, 3]") + ", " + layer("GRU", "g", R"("x")", R"("units": 4)"), R"("x")", R"("g")"));
  contains(message_of([&] { const Decoder wrong(numbers_alone); }), "one-hot vectors of 4 classes");
  Decoder moved(model);
  const Decoder taken = std::move(moved);
  contains(message_of([&] { moved.decode({}, one, {}); }), "moved from");
  CHECK(moved.classes() == 0);
}

TEST_CASE("decoder: what is no number is refused, in every row's own name") {
  for (const float wrong : {kNaN, kInf}) {
    Model model = random_model(language(9));
    std::vector<float> weights(model.weights().begin(), model.weights().end());
    weights.back() = wrong;  // of the bias
    model.set_weights(weights);
    const Decoder decoder(model);
    const std::vector<Labels> prompts{{1}, {2}};
    for (const DecodeOptions& options :
         {DecodeOptions{}, DecodeOptions{.beam_width = 3}, DecodeOptions{.sample = true},
          DecodeOptions{.sample = true, .sampling = {.top_k = 2}}, DecodeOptions{.sample = true, .sampling = {.top_p = 0.5f}}})
      contains(message_of([&] { decoder.decode({}, prompts, options); }),
               "row 0: what the model gives for label 0 is no probability");
  }
}

TEST_CASE("generator: what it refuses changes nothing") {
  const Model model = random_model(language(9), 2.0f);
  Generator generator(model, 2), other(model, 2);
  Labels labels(2), right(2);
  CHECK_FALSE(generator.next({}, labels));  // nothing was read
  CHECK(generator.read(Labels{1, 2}));
  CHECK(other.read(Labels{1, 2}));
  Labels three(3);
  CHECK_FALSE(generator.read(three));
  CHECK_FALSE(generator.read(Labels{1, 9}));
  CHECK_FALSE(generator.read(Labels{-1, 1}));
  CHECK_FALSE(generator.next({}, three));
  CHECK_FALSE(generator.next({.temperature = -1}, labels));
  CHECK_FALSE(generator.next({.top_k = -1}, labels));
  CHECK_FALSE(generator.next({.top_p = 0}, labels));
  CHECK_FALSE(generator.next({.repetition_penalty = kNaN}, labels));
  for (int i = 0; i < 10; ++i) {
    REQUIRE(generator.next({.seed = 4}, labels));
    REQUIRE(other.next({.seed = 4}, right));
    CHECK(labels == right);
    CHECK(same({generator.logits().begin(), generator.logits().end()}, {other.logits().begin(), other.logits().end()}));
  }
  generator.reset();
  CHECK_FALSE(generator.next({}, labels));
  CHECK(generator.read(Labels{3, 3}));
  CHECK(generator.logits().size() == 18);
  const std::vector<double> p = expected(model, {3});
  for (std::size_t i = 1; i < 9; ++i)
    CHECK(close(static_cast<double>(generator.logits()[i] - generator.logits()[0]), p[i] - p[0], 1e-4));
  contains(message_of([&] { Generator(model, 0); }), "batch of at least 1");
  Generator taken = std::move(generator);
  CHECK_FALSE(generator.read(Labels{1, 2}));
  CHECK_FALSE(generator.next({}, labels));
  CHECK(generator.classes() == 0);
  CHECK(generator.logits().empty());
  generator.reset();
  contains(message_of([&] { generator.begin({}); }), "moved from");
}

TEST_CASE("generator: it begins with a memory, and again with another") {
  const Model model = random_model(attending(7), 1.5f);
  Generator generator(model, 2, {.whole = {"memory"}});
  CHECK_FALSE(generator.read(Labels{1, 2}));  // nothing to begin with yet
  for (const Index S : {5, 11, 1}) {
    Data given;
    given.add(Shape{2, S, 6}, numbers(2 * S * 6, 5)).add(Shape{2, 6}, numbers(12, 6));
    generator.begin(given.batch());
    Labels labels(2);
    CHECK_FALSE(generator.next({}, labels));
    CHECK(generator.read(Labels{3, 3}));
    const std::vector<Labels> right =
        labels_of(Decoder(model, {.whole = {"memory"}})
                      .decode(given.batch(), {}, {.steps = 8, .start = 3, .sample = true, .sampling = {.seed = 2}}));
    for (std::size_t k = 0; k < 8; ++k) {
      REQUIRE(generator.next({.seed = 2}, labels));
      CHECK(labels == Labels{right[0][k], right[1][k]});
    }
  }
  Data fewer;
  fewer.add_random({1, 5, 6}).add_random({1, 6});
  contains(message_of([&] { generator.begin(fewer.batch()); }), "generator: expected 2 rows");
}

TEST_CASE("stream: beginning, choosing rows, and memory of another length") {
  each_isa([](const simd::Kernels&) {
    const Model model = random_model(attending(7));
    Stream stream(model, {.batch = 4, .whole = {"memory"}});
    CHECK(stream.rows() == 0);
    constexpr Index S = 6;
    Data given;
    given.add(Shape{2, S, 6}, numbers(2 * S * 6, 5), {4, 6}).add(Shape{2, 6}, numbers(12, 6));
    stream.begin(given.batch());
    CHECK(stream.rows() == 2);
    const std::vector<Labels> read{{1, 2}, {3, 4}, {5, 6, 0}};
    std::vector<std::vector<float>> y, paid;
    for (std::size_t t = 0; t < 3; ++t) {
      if (t == 2) {
        const std::vector<Index> rows{1, 0, 1};
        stream.select(rows);
      }
      y.emplace_back(7 * read[t].size());
      paid.emplace_back(S * read[t].size());
      const std::vector<const void*> x{read[t].data()};
      const std::vector<float*> to{y[t].data(), paid[t].data()};
      REQUIRE(stream.step(x, to));
    }
    const std::vector<Labels> whole{{2, 4, 5}, {1, 3, 6}, {2, 4, 0}};
    for (std::size_t k = 0; k < 3; ++k) {
      const Index row = k == 1 ? 0 : 1, length = row == 0 ? 4 : 6;
      Data one;
      one.add_ids({1, 3}, whole[k]);
      const auto at = given.floats[0].begin() + row * S * 6, h = given.floats[1].begin() + row * 6;
      one.add(Shape{1, S, 6}, {at, at + S * 6}, {static_cast<std::int32_t>(length)}).add(Shape{1, 6}, {h, h + 6});
      const std::vector<Tensor> right = model.predict(one.batch());
      for (std::size_t i = 0; i < 7; ++i) CHECK(y[2][k * 7 + i] == right[0].data[14 + i]);
      for (std::size_t i = 0; i < S; ++i) CHECK(paid[2][k * S + i] == right[1].data[2 * S + i]);
    }
    for (const std::vector<Index>& wrong : {std::vector<Index>{}, {3}, {-1}, {0, 0, 0, 0, 0}})
      CHECK(!message_of([&] { stream.select(wrong); }).empty());
    CHECK(stream.rows() == 3);
  });
}

#endif
