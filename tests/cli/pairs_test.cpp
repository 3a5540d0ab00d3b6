// Training on pairs of sequences and on words, and what its mistakes say.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>

#include "driver/parameters.h"
#include "driver/vocabularies.h"
#include "runtime/checkpoint.h"
#include "tests/catch.h"
#include "tests/cli/run.h"

using namespace treadle;
using treadle::test::check_fails;
using treadle::test::fresh_folder;
using treadle::test::Run;
using treadle::test::run;

namespace {

void write(const std::filesystem::path& file, const std::string& text) {
  std::ofstream(file, std::ios::binary) << text;
}

// Sentences of one to four of the words a b c d; the target has capitals.
std::filesystem::path folder_of_pairs(const std::string& name) {
  const std::filesystem::path folder = fresh_folder(name);
  std::string source, target;
  for (int i = 0; i < 96; ++i) {
    for (int t = 0; t <= i % 4; ++t) {
      const int number = i * i * 7 + t * t * 5 + i * t * 3 + i / 4 + t * i / 7;
      const char letter = static_cast<char>('a' + number % 4);
      source += std::string(t > 0 ? " " : "") + letter;
      target += std::string(t > 0 ? " " : "") + static_cast<char>(letter - 'a' + 'A') + "x";
    }
    source += "\n";
    target += i % 2 == 0 ? " .\n" : "\n";
  }
  write(folder / "from.txt", source);
  write(folder / "to.txt", target);
  return folder;
}

const std::string translator =
    "model M(source: token(5)[S], target: token(8)[T]) {\n"
    "  memory, last = scan GRU[8, 16] over embedding[8](source)\n"
    "  h, _ = scan GRU[8, 16] over embedding[8](target) from last\n"
    "  return logits: dense[8](concat(h, attention(h, memory, memory), axis: -1))\n"
    "}\n"
    "train M {\n"
    "  data pairs(\"from.txt\", \"to.txt\")SETTINGS\n"
    "  validation 0.2\n"
    "  loss per token cross_entropy(logits, next)\n"
    "  optimizer adamw(lr: 0.02)\n"
    "  batch 7\n"
    "  epochs 80\n"
    "}\n";

std::string program(const std::filesystem::path& folder, std::string text,
                    const std::string& settings = "") {
  if (const std::size_t at = text.find("SETTINGS"); at != std::string::npos)
    text.replace(at, 8, settings);
  write(folder / "program.tdl", text);
  return (folder / "program.tdl").string() + " --data " + folder.string();
}

double last_loss(const Run& result, const std::string& words) {
  const std::size_t at = result.output.rfind(words);
  REQUIRE(at != std::string::npos);
  return std::stod(result.output.substr(at + words.size()));
}

}  // namespace

TEST_CASE("pairs of files are learned, and their vocabularies are kept with the weights") {
  const std::filesystem::path folder = folder_of_pairs("pairs");
  const std::string arguments = program(folder, translator);
  const std::string out = (folder / "run").string();
  const Run result = run("train " + arguments + " -o " + out);
  INFO(result.output);
  REQUIRE(result.status == 0);
  CHECK(last_loss(result, "training loss ") < 0.1);
  const Checkpoint saved = load_checkpoint(checkpoint_file(out));
  const Vocabularies kept = vocabularies_of(saved.texts, out);
  CHECK(kept.at("source").tokens() == std::vector<std::string>{"<unk>", "d", "c", "a", "b"});
  CHECK(kept.at("target").tokens().size() == 8);
  CHECK(kept.at("target").index("<s>") == 1);
  // What was held back is read as in training; without the words that it lacks
  // another vocabulary would give them other classes.
  const Run again = run("eval " + arguments + " --run " + out);
  CHECK(last_loss(again, "loss ") == last_loss(result, "held back: loss "));
  write(folder / "from.txt", "c z\n");
  write(folder / "to.txt", "Cx Cx\n");
  const std::string more = translator + "eval M { data pairs(\"from.txt\", \"to.txt\") }\n";
  const Run other = run("eval " + program(folder, more) + " --run " + out);
  INFO(other.output);
  CHECK(other.status == 0);
  CHECK(other.output.find("(1 examples)") != std::string::npos);
}

TEST_CASE("compiled and reference training on pairs print the same losses") {
  const std::filesystem::path folder = folder_of_pairs("pairs-reference");
  const std::string arguments = program(folder, translator) + " -p f64 --epochs 1";
  const Run compiled = run("train " + arguments);
  CHECK(compiled.status == 0);
  CHECK(run("train " + arguments + " --backend reference").output == compiled.output);
}

TEST_CASE("a loss per token is the same however the tokens are cut into batches") {
  const std::filesystem::path folder = folder_of_pairs("per-token");
  const std::string arguments = program(folder, translator);
  const std::string out = (folder / "run").string();
  REQUIRE(run("train " + arguments + " --epochs 2 -o " + out).status == 0);
  const Run batches = run("eval " + arguments + " --run " + out + " --batch 3");
  CHECK(run("eval " + arguments + " --run " + out + " --batch 8").output == batches.output);
  // By hand: the mean over examples weighs short ones more.
  std::string by_example = translator;
  by_example.replace(by_example.find("per token "), 10, "");
  const Run other = run("eval " + program(folder, by_example) + " --run " + out);
  CHECK(last_loss(other, "loss ") != Approx(last_loss(batches, "loss ")).epsilon(1e-3));
  std::string by_hand = translator;
  by_hand.replace(by_hand.find("per token cross_entropy(logits, next)"), 37,
                  "cross_entropy(logits, next) * real(length(next))\n"
                  "  report words = real(length(next))");
  const Run sums = run("eval " + program(folder, by_hand) + " --run " + out);
  INFO(sums.output);
  CHECK(last_loss(sums, "loss ") / last_loss(sums, "words ") ==
        Approx(last_loss(batches, "loss ")).epsilon(1e-4));
}

TEST_CASE("vocabularies from files") {
  const std::filesystem::path folder = folder_of_pairs("vocabulary-files");
  const std::string files = ", source_vocabulary \"from.v\", target_vocabulary \"to.v\"";
  const std::string arguments = program(folder, translator, files) + " --epochs 1";
  const std::string source = "<unk>\na\nb\nc\nd\n",
                    target = "<s>\n</s>\n.\nAx\nBx\nCx\nDx\n<unk>\n";
  const auto with = [&](const std::string& from, const std::string& to) {
    write(folder / "from.v", from);
    write(folder / "to.v", to);
    return "train " + arguments;
  };
  CHECK(run(with(source, target)).status == 0);
  check_fails(with("<unk>\na\n\nb\nc\n", target), "T0530", "from.v:3: the line is blank");
  check_fails(with("a\nb\na\nc\nd\n", target), "T0530", "from.v:3: 'a' is on line 1 too");
  check_fails(with("a 7\nb\nc\nd\ne\n", target), "T0530", "from.v:1: 'a 7' is not one token");
  check_fails(with("", target), "T0931", "from.v holds no text");
  check_fails(with("\xff\n", target), "T0930", "from.v:1: the text is not UTF-8");
  check_fails(with("a\nb\nc\nd\n", target), "T0531", "has 4 tokens, the model reads 5");
  check_fails(with(source + "e\n", target), "T0839", "has 6 tokens, the model reads 5");
  check_fails(with("a\nb\nc\ne\nf\n", target), "T0932", "from.txt, line 2: 'd'");
  check_fails(with(source, "<unk>\nAx\nBx\nCx\nDx\n.\nEx\nFx\n"), "T0532", "no <s> and </s>");
}

TEST_CASE("pairs that do not fit") {
  const std::filesystem::path folder = folder_of_pairs("misfit-pairs");
  const std::string arguments = program(folder, translator) + " --epochs 1";
  check_fails("train " + program(folder, translator, ", max_tokens 0"), "T0403", "positive");
  check_fails("train " + program(folder, translator, ", tokens syllables"), "T0401", "words");
  check_fails("train " + program(folder, translator, ", tokens characters"), "T0839",
              "'target' has 9 different characters");
  CHECK(run("train " + program(folder, translator, ", tokens characters, max_tokens 5")).status ==
        0);
  program(folder, translator);
  write(folder / "from.txt", "a\n\nb\n");
  write(folder / "to.txt", "Ax\nAx\nBx\n");
  CHECK(run("train " + arguments).status == 0);  // length 0 is a length
  write(folder / "to.txt", "Ax\nBx\n");
  check_fails("train " + arguments, "T0966", "from.txt has 3 lines");
  write(folder / "to.txt", "");
  check_fails("train " + arguments, "T0931", "to.txt holds no text");
  write(folder / "to.txt", "Ax\nB\xc3\nBx\n");
  check_fails("train " + arguments, "T0930", "not UTF-8");
  std::string one = translator;
  one.replace(one.find(", \"to.txt\""), 10, "");
  check_fails("train " + program(folder, one), "T0837", "needs the name of a file");
}

TEST_CASE("a text and lines by words and bytes") {
  const std::filesystem::path folder = fresh_folder("words");
  std::string text;
  for (int i = 0; i < 200; ++i) text += i % 3 == 0 ? "one two\n" : "three one\n";
  write(folder / "text.txt", text);
  const std::string model =
      "model M(text: token(6)[T]) {\n"
      "  hs, _ = scan GRU[4, 12] over embedding[4](text)\n"
      "  return logits: dense[6](hs)\n"
      "}\n"
      "train M {\n"
      "  data SETTINGS\n"
      "  loss cross_entropy(logits, next)\n"
      "  optimizer adamw(lr: 0.03)\n"
      "  batch 8\n"
      "  epochs 4\n"
      "}\n";
  const auto tokens = [&](const std::string& settings) {
    const std::string out = (folder / "run").string();
    const Run result = run("train " + program(folder, model, settings) + " -o " + out);
    INFO(result.output);
    REQUIRE(result.status == 0);
    return vocabularies_of(load_checkpoint(checkpoint_file(out)).texts, out).at("text");
  };
  CHECK(tokens("text(\"text.txt\"), tokens words, window 5").tokens() ==
        std::vector<std::string>{"<unk>", "one", "three", "two"});
  CHECK(tokens("lines(\"text.txt\"), tokens words").tokens() ==
        std::vector<std::string>{"<unk>", "<s>", "</s>", "one", "three", "two"});
  const Vocabulary bytes = tokens("text(\"text.txt\"), tokens bytes, window 5, max_tokens 6");
  CHECK(bytes.unit() == TokenUnit::byte);
  CHECK(bytes.size() == 6);
  write(folder / "known.txt", "one\ntwo\n<unk>\n<s>\n</s>\nfour\n");
  CHECK(tokens("lines(\"text.txt\"), tokens words, vocabulary \"known.txt\"").index("four") == 5);
}

TEST_CASE("what was learned is translated: one source, a file of them, drawn or searched") {
  const std::filesystem::path folder = folder_of_pairs("translate");
  const std::string arguments = program(folder, translator + "generate M { max 9 }\n");
  const std::string out = (folder / "run").string();
  REQUIRE(run("train " + arguments + " -o " + out).status == 0);
  const std::string file = (folder / "program.tdl").string();
  const std::string generate = "generate " + file + " --run " + out;
  const Run one = run(generate + " --greedy --source \"a d\"");
  INFO(one.output);
  CHECK(one.output.find("Ax Dx") == 0);
  write(folder / "lines.txt", "b\nd b b a\n\na d\nzebra\n");
  const std::string lines = " --source-file " + (folder / "lines.txt").string();
  const Run all = run(generate + " --greedy" + lines);
  INFO(all.output);
  CHECK(all.output.find("Bx") == 0);
  CHECK(all.output.find("\nDx Bx Bx Ax") != std::string::npos);
  CHECK(all.output.find(one.output) != std::string::npos);
  CHECK(std::count(all.output.begin(), all.output.end(), '\n') == 5);
  CHECK(run(generate + " --beam 1" + lines).output == all.output);
  CHECK(run(generate + " --top-k 1 --seed 4" + lines).output == all.output);
  CHECK(run(generate + " --beam 3" + lines).output.find("\nDx Bx Bx Ax") != std::string::npos);
  const Run begun = run(generate + " --greedy --from Dx --source \"d b b a\"");
  CHECK(begun.output.find("Dx Bx Bx Ax") == 0);
  const Run json = run(generate + " --greedy --json --source \"a d\"");
  CHECK(json.output.find("{\"source\":\"a d\",\"text\":\"Ax Dx") == 0);
  CHECK(json.output.find("\"stopped\":true") != std::string::npos);
  CHECK(run(generate + " --greedy --max 1 --source \"a d\"").output == "Ax\n");
  check_fails(generate, "T0533", "reads a source");
  check_fails(generate + " --from Ax --from Bx --source a", "T0534", "same beginning");
  check_fails(generate + " --model N", "T0845", "no generate block of 'N'");
  check_fails(generate + " --beam 9 --source a", "T0882", "wider than the vocabulary");
}

TEST_CASE("lines of words are continued, from their beginning or from some") {
  const std::filesystem::path folder = fresh_folder("lines-generate");
  write(folder / "lines.txt", "one two three\none two three\none two three\nfour two five\n");
  const std::string model =
      "model M(text: token(9)[T]) {\n"
      "  x = learned_positions[8](embedding[8](text))\n"
      "  x = EncoderLayer[2](x, mask: causal_mask[T]())\n"
      "  return logits: dense[9](layer_norm(x))\n"
      "}\n"
      "train M {\n"
      "  data lines(\"lines.txt\"), tokens words\n"
      "  loss cross_entropy(logits, next)\n"
      "  optimizer adamw(lr: 0.02)\n"
      "  batch 4\n"
      "  epochs 60\n"
      "}\n"
      "generate M { greedy; max 6 }\n";
  const std::string out = (folder / "run").string();
  REQUIRE(run("train " + program(folder, model) + " -o " + out).status == 0);
  const std::string generate = "generate " + (folder / "program.tdl").string() + " --run " + out;
  CHECK(run(generate).output == "one two three\n");
  CHECK(run(generate + " --from four").output == "four two five\n");
  CHECK(run(generate + " --from four --from \"one two\"").output ==
        "four two five\none two three\n");
  check_fails(generate + " --source four", "T0535", "reads no source");
}

TEST_CASE("options that choose tokens one by one go before the beam of a generate block") {
  const std::filesystem::path folder = fresh_folder("beam_block");
  std::string text;
  for (int i = 0; i < 20; ++i) text += "abcab.";
  write(folder / "text.txt", text);
  const std::string arguments =
      program(folder,
              "model M(text: token(4)[T]) {\n  return logits: dense[4](embedding[3](text))\n}\n"
              "train M {\n  data text(\"text.txt\"), window 4\n"
              "  loss cross_entropy(logits, next)\n  epochs 1\n}\n"
              "generate M { from \"a\"; max 2; beam 3 }\n");
  const std::string out = (folder / "run").string();
  REQUIRE(run("train " + arguments + " -o " + out).status == 0);
  const std::string generate = "generate " + (folder / "program.tdl").string() + " --run " + out;
  const auto lines = [&](const std::string& options) {
    const Run result = run(generate + options);
    INFO(result.output);
    CHECK(result.status == 0);
    return std::count(result.output.begin(), result.output.end(), '\n');
  };
  CHECK(lines("") == 3);
  CHECK(lines(" --beam 2") == 2);
  for (const char* options : {" --greedy", " --temperature 0.7", " --top-k 2", " --top-p 0.5"})
    CHECK(lines(options) == 1);
  CHECK(lines(" --greedy --beam 2") == 2);
}
