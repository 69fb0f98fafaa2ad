// Runs a fuzz target without libFuzzer: every file of a corpus, then what random changes make of them.
//
//   TARGET CORPUS [SECONDS]        for so long (2)
//   TARGET CORPUS --round N [FILE] only that round, to see a finding again; what it runs goes to FILE
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#include "tests/fuzz/fuzz.h"

// A target's own way to change an input, if it has one.
extern "C" __attribute__((weak)) size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size,
                                                                unsigned seed);
extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)());

namespace {

using Clock = std::chrono::steady_clock;

constexpr unsigned kLongestSeconds = 20;  // that one input may take, under sanitizers too

long long current_round = -1;  // -1: a file of the corpus

void SayRound() {
  char text[80];
  const int length = std::snprintf(text, sizeof text, "in round %lld of the driver\n", current_round);
  (void)!write(STDERR_FILENO, text, static_cast<size_t>(length));
}

void SayRoundAndDie(int signal) {
  SayRound();
  ::signal(signal, SIG_DFL);
  raise(signal);
}

std::vector<std::string> ReadCorpus(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) files.push_back(entry.path());
  std::sort(files.begin(), files.end());
  std::vector<std::string> corpus;
  for (const auto& file : files) {
    std::ifstream in(file, std::ios::binary);
    corpus.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  return corpus;
}

std::string Mutated(const std::vector<std::string>& corpus, std::mt19937_64& random) {
  const auto below = [&](size_t n) { return static_cast<size_t>(random() % n); };
  std::string bytes = corpus[below(corpus.size())];
  for (size_t changes = 1 + below(6); changes > 0; --changes) {
    const size_t at = below(bytes.size() + 1);
    const std::string& other = corpus[below(corpus.size())];
    switch (below(7)) {
      case 0:
        if (at < bytes.size()) bytes[at] = static_cast<char>(random());
        break;
      case 1:
        if (at < bytes.size()) bytes[at] = static_cast<char>(bytes[at] ^ 1 << below(8));
        break;
      case 2:
        bytes.erase(at, 1 + below(8));
        break;
      case 3:
        bytes.insert(at, 1 + below(4), static_cast<char>(random()));
        break;
      case 4:  // the largest numbers, as text and as protobuf's varints
        bytes.insert(
            at, below(2) == 0 ? "9223372036854775807" : std::string("\xff\xff\xff\xff\xff\xff\xff\xff\x7f"));
        break;
      case 5:  // a piece of another file, or of this one once more
        if (!other.empty()) {
          const size_t from = below(other.size());
          bytes.insert(at, other.substr(from, 1 + below(std::min<size_t>(64, other.size() - from))));
        }
        break;
      case 6:
        bytes.resize(at);
        break;
    }
  }
  return bytes;
}

void RunOnce(const std::string& bytes) {
  alarm(kLongestSeconds);
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  alarm(0);
}

std::string InputOf(const std::vector<std::string>& corpus, long long round) {
  std::mt19937_64 random(static_cast<uint64_t>(round));
  if (LLVMFuzzerCustomMutator == nullptr || round % 4 == 0) return Mutated(corpus, random);
  std::string bytes = corpus[random() % corpus.size()];
  const size_t size = bytes.size();
  bytes.resize(2 * size + 1000);
  bytes.resize(LLVMFuzzerCustomMutator(reinterpret_cast<uint8_t*>(bytes.data()), size, bytes.size(),
                                       static_cast<unsigned>(random())));
  return bytes;
}

void RunRound(const std::vector<std::string>& corpus, long long round) {
  current_round = round;
  RunOnce(InputOf(corpus, round));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 2;
  const std::vector<std::string> corpus = ReadCorpus(argv[1]);
  hachi::Require(!corpus.empty(), "the corpus has files");
  if (__sanitizer_set_death_callback != nullptr) __sanitizer_set_death_callback(SayRound);
  for (const int signal : {SIGABRT, SIGALRM, SIGFPE, SIGSEGV, SIGTERM}) ::signal(signal, SayRoundAndDie);
  if (argc >= 4 && std::string(argv[2]) == "--round") {
    if (argc > 4) std::ofstream(argv[4], std::ios::binary) << InputOf(corpus, std::stoll(argv[3]));
    RunRound(corpus, std::stoll(argv[3]));
    return 0;
  }
  for (const std::string& bytes : corpus) RunOnce(bytes);
  const auto end = Clock::now() + std::chrono::duration<double>(argc > 2 ? std::stod(argv[2]) : 2);
  long long round = 0;
  for (; Clock::now() < end; ++round) RunRound(corpus, round);
  std::printf("%zu files, %lld rounds\n", corpus.size(), round);
  return 0;
}
