#include "runtime/vocabulary.h"

#include "tests/runtime/support.h"

using namespace treadle;
using namespace treadle::test;

TEST_CASE("vocabulary: characters, encoded and decoded again") {
  const Vocabulary v = Vocabulary::from_text("hello \xE2\x82\xAC", TokenUnit::character);
  CHECK(v.tokens() == std::vector<std::string>{" ", "e", "h", "l", "o", "\xE2\x82\xAC"});
  CHECK(v.decode(v.encode("\xE2\x82\xAC lo")) == "\xE2\x82\xAC lo");
  CHECK(error_code([&] { v.encode("z"); }) == "T0932");
  const std::vector<std::int32_t> outside = {6};
  CHECK(error_code([&] { (void)v.decode(outside); }) == "T0932");
}

TEST_CASE("vocabulary: words by frequency, unknown ones have index 0") {
  const Vocabulary v = Vocabulary::from_text("b a b c c b", TokenUnit::word, {.limit = 3});
  CHECK(v.tokens() == std::vector<std::string>{"<unk>", "b", "c"});
  CHECK(v.encode("a  b\nc") == std::vector<std::int32_t>{0, 1, 2});
  CHECK(v.decode(v.encode("c b a")) == "c b <unk>");
}

TEST_CASE("vocabulary: rare tokens are unknown, marks are tokens of any unit") {
  const Vocabulary words =
      Vocabulary::from_text("b a b c c b <s>", TokenUnit::word, {.min_count = 2, .ends = true});
  CHECK(words.tokens() == std::vector<std::string>{"<unk>", "<s>", "</s>", "b", "c"});
  CHECK(words.index("</s>") == 2);
  CHECK_FALSE(words.index("a").has_value());
  for (const TokenUnit unit : {TokenUnit::character, TokenUnit::byte}) {
    const Vocabulary v = Vocabulary::from_text("abbcc<s>", unit, {.limit = 4, .ends = true});
    CHECK(v.tokens() == std::vector<std::string>{"<unk>", "<s>", "</s>", "b"});
    CHECK(v.encode("b<s>") == std::vector<std::int32_t>{3, 0, 0, 0});
    CHECK(v.decode(std::vector<std::int32_t>{3, 0, 3}) == "b<unk>b");
    CHECK(Vocabulary::from_json(v.to_json(), "x") == v);
  }
  CHECK(error_code([] { Vocabulary::from_text("a \xff", TokenUnit::word); }) == "T0930");
}

TEST_CASE("vocabulary: JSON and back") {
  for (const TokenUnit unit : {TokenUnit::byte, TokenUnit::character, TokenUnit::word}) {
    const Vocabulary v = Vocabulary::from_text("a\n\"\\ \xC3\xA9 {}", unit);
    CHECK(Vocabulary::from_json(v.to_json(), "x") == v);
  }
  const Vocabulary bytes = Vocabulary::from_text("\xFF\x01", TokenUnit::byte);
  CHECK(Vocabulary::from_json(bytes.to_json(), "x") == bytes);
}

TEST_CASE("vocabulary: JSON that is none") {
  const auto code = [](const char* json) {
    return error_code([&] { Vocabulary::from_json(json, "x"); });
  };
  CHECK(code("") == "T0933");
  CHECK(code("[]") == "T0933");
  CHECK(code("{\"unit\": \"word\"}") == "T0933");
  CHECK(code("{\"unit\": 3, \"tokens\": []}") == "T0933");
  CHECK(code("{\"unit\": \"word\", \"tokens\": 1}") == "T0933");
  CHECK(code("{\"unit\": \"word\", \"tokens\": [\"a b\"]}") == "T0933");
  CHECK(code("{\"unit\": \"word\", \"tokens\": [\"a\", \"a\"]}") == "T0933");
  CHECK(code("{\"unit\": \"byte\", \"tokens\": [256]}") == "T0933");
  CHECK(code("{\"unit\": \"character\", \"tokens\": [\"\"]}") == "T0933");
}

TEST_CASE("vocabulary: only well-formed UTF-8 passes as characters") {
  for (const char* text : {"\x80", "\xC0\x80", "\xE0\x80\x80", "\xED\xA0\x80", "\xF0\x80\x80\x80",
                           "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xE2\x82",
                           "\xC3"
                           "a"})
    CHECK(error_code([&] { tokenise(text, TokenUnit::character); }) == "T0930");
  CHECK(tokenise("\xF0\x9F\x98\x80\xED\x9F\xBF", TokenUnit::character).size() == 2);
}
