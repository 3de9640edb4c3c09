// SPDX-FileCopyrightText: The tftrain authors
// SPDX-License-Identifier: Apache-2.0

#include "tftrain/checkpoint/checkpoint_state_text.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <tuple>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "tensorflow/core/platform/errors.h"
#include "tensorflow/core/platform/statusor.h"

namespace tftrain {
namespace {

constexpr std::string_view kPath = "model_checkpoint_path";
constexpr std::string_view kPaths = "all_model_checkpoint_paths";
constexpr std::string_view kTimestamps = "all_model_checkpoint_timestamps";
constexpr std::string_view kPreserved = "last_preserved_timestamp";

// How deep messages and lists of fields we do not know may nest.
constexpr int kMaxDepth = 100;

bool IsWordCharacter(char c) {
  return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_' ||
         c == '.' || c == '+' || c == '-';
}

// Appends the code point as UTF-8; false if there is no such character.
bool AppendUtf8(uint32_t code, std::string* out) {
  if (code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return false;
  const auto append = [out](uint32_t byte) {
    out->push_back(static_cast<char>(byte));
  };
  if (code < 0x80) {
    append(code);
  } else if (code < 0x800) {
    append(0xC0 | code >> 6);
    append(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    append(0xE0 | code >> 12);
    append(0x80 | (code >> 6 & 0x3F));
    append(0x80 | (code & 0x3F));
  } else {
    append(0xF0 | code >> 18);
    append(0x80 | (code >> 12 & 0x3F));
    append(0x80 | (code >> 6 & 0x3F));
    append(0x80 | (code & 0x3F));
  }
  return true;
}

// The number of bytes of the UTF-8 character at the start of `text`, which
// must be shortest form and no surrogate; 0 if there is none.
size_t Utf8Length(std::string_view text) {
  const auto byte = [text](size_t i) {
    return static_cast<uint8_t>(i < text.size() ? text[i] : 0);
  };
  const uint8_t lead = byte(0);
  size_t length = 0;
  uint32_t code = 0;
  if (lead < 0x80) return text.empty() ? 0 : 1;
  if (lead >> 5 == 0x6) {
    length = 2;
    code = lead & 0x1F;
  } else if (lead >> 4 == 0xE) {
    length = 3;
    code = lead & 0x0F;
  } else if (lead >> 3 == 0x1E) {
    length = 4;
    code = lead & 0x07;
  } else {
    return 0;
  }
  for (size_t i = 1; i < length; ++i) {
    if (byte(i) >> 6 != 0x2) return 0;
    code = code << 6 | (byte(i) & 0x3F);
  }
  std::string shortest;
  return AppendUtf8(code, &shortest) && shortest.size() == length ? length : 0;
}

// Splits text format into words (names and numbers), strings and symbols.
//
// Confined: use from the thread that created it.
class Lexer {
 public:
  enum class Kind { kEnd, kWord, kString, kSymbol };

  explicit Lexer(std::string_view text) : rest_(text) {}

  // Reads the next token.
  absl::Status Next() {
    SkipSpace();
    text_ = rest_.substr(0, 1);
    if (rest_.empty()) {
      kind_ = Kind::kEnd;
    } else if (rest_[0] == '"' || rest_[0] == '\'') {
      kind_ = Kind::kString;
      return ReadString();
    } else if (IsWordCharacter(rest_[0])) {
      kind_ = Kind::kWord;
      size_t size = 1;
      while (size < rest_.size() && IsWordCharacter(rest_[size])) ++size;
      text_ = rest_.substr(0, size);
      rest_.remove_prefix(size);
    } else {
      kind_ = Kind::kSymbol;
      rest_.remove_prefix(1);
    }
    return absl::OkStatus();
  }

  Kind kind() const { return kind_; }
  bool Is(char symbol) const {
    return kind_ == Kind::kSymbol && text_[0] == symbol;
  }
  // The characters of a word or symbol.
  std::string_view text() const { return text_; }
  // The value of a string, which this moves out.
  std::string TakeString() { return std::move(string_); }

  absl::Status Error(std::string_view what) const {
    return absl::InvalidArgumentError(absl::StrFormat(
        "cannot parse the checkpoint state: line %d: %s", line_, what));
  }

  absl::Status Unexpected(std::string_view wanted) const {
    if (kind_ == Kind::kEnd) {
      return Error(absl::StrCat("expected ", wanted, ", found the end"));
    }
    constexpr size_t kMost = 60;
    const std::string_view found =
        kind_ == Kind::kString ? "a string" : text_.substr(0, kMost);
    return Error(absl::StrFormat("expected %s, found \"%s\"", wanted,
                                 absl::CHexEscape(found)));
  }

 private:
  void SkipSpace() {
    while (!rest_.empty()) {
      if (rest_[0] == '\n') ++line_;
      if (rest_[0] == '#') {
        rest_.remove_prefix(std::min(rest_.find('\n'), rest_.size()));
      } else if (absl::ascii_isspace(static_cast<unsigned char>(rest_[0]))) {
        rest_.remove_prefix(1);
      } else {
        return;
      }
    }
  }

  absl::Status ReadString() {
    const char quote = rest_[0];
    rest_.remove_prefix(1);
    string_.clear();
    while (!rest_.empty() && rest_[0] != '\n') {
      const char c = rest_[0];
      rest_.remove_prefix(1);
      if (c == quote) return absl::OkStatus();
      if (c == '\\') {
        TF_RETURN_IF_ERROR(ReadEscape());
      } else {
        string_.push_back(c);
      }
    }
    return Error("a string has no closing quote");
  }

  // Appends the character that an escape behind its backslash stands for.
  absl::Status ReadEscape() {
    constexpr std::string_view kNames = "abfnrtv\\'\"?";
    constexpr std::string_view kValues = "\a\b\f\n\r\t\v\\'\"?";
    if (rest_.empty()) return Error("a string has no closing quote");
    const char c = rest_[0];
    if (c >= '0' && c <= '7') {
      const uint32_t value = *ReadDigits(8, 1, 3);
      if (value > 0xFF) return Error("an octal escape is above \\377");
      string_.push_back(static_cast<char>(value));
      return absl::OkStatus();
    }
    rest_.remove_prefix(1);
    const size_t name = kNames.find(c);
    if (name != std::string_view::npos) {
      string_.push_back(kValues[name]);
      return absl::OkStatus();
    }
    if (c == 'x') {
      const std::optional<uint32_t> value = ReadDigits(16, 1, 2);
      if (!value) return Error("an escape \\x has no digits");
      string_.push_back(static_cast<char>(*value));
      return absl::OkStatus();
    }
    if (c == 'u' || c == 'U') {
      const int digits = c == 'u' ? 4 : 8;
      const std::optional<uint32_t> value = ReadDigits(16, digits, digits);
      if (!value || !AppendUtf8(*value, &string_)) {
        return Error("an escape names no character");
      }
      return absl::OkStatus();
    }
    // Python keeps an escape that it does not know.
    string_.push_back('\\');
    string_.push_back(c);
    return absl::OkStatus();
  }

  // The number that the next `least` to `most` digits write.
  std::optional<uint32_t> ReadDigits(int base, int least, int most) {
    uint32_t value = 0;
    const char* const end =
        rest_.data() + std::min(rest_.size(), static_cast<size_t>(most));
    const auto result = std::from_chars(rest_.data(), end, value, base);
    const auto size = result.ptr - rest_.data();
    if (result.ec != std::errc() || size < least) return std::nullopt;
    rest_.remove_prefix(static_cast<size_t>(size));
    return value;
  }

  std::string_view rest_;
  int line_ = 1;
  Kind kind_ = Kind::kEnd;
  std::string_view text_;
  std::string string_;
};

// Reads the fields of one state; the current token is the first one that was
// not used yet.
//
// Confined: use from the thread that created it.
class Parser {
 public:
  Parser(std::string_view text, const CheckpointStateLimits& limits)
      : limits_(limits), lexer_(text) {}

  absl::StatusOr<CheckpointState> Parse() {
    TF_RETURN_IF_ERROR(lexer_.Next());
    while (lexer_.kind() != Lexer::Kind::kEnd) {
      TF_RETURN_IF_ERROR(ReadField());
    }
    return std::move(state_);
  }

 private:
  // One field of the state with the separator that may follow it.
  absl::Status ReadField() {
    if (lexer_.kind() != Lexer::Kind::kWord) {
      if (lexer_.Is('[')) return SkipField(0);
      return lexer_.Unexpected("the name of a field");
    }
    const std::string_view name = lexer_.text();
    if (name == kPath) return ReadOnce(name, &Parser::ReadPath);
    if (name == kPreserved) return ReadOnce(name, &Parser::ReadPreserved);
    if (name == kPaths) return ReadRepeated(&Parser::ReadPathOfAll);
    if (name == kTimestamps) return ReadRepeated(&Parser::ReadTimestamp);
    return SkipField(0);
  }

  using Reader = absl::Status (Parser::*)();

  absl::Status ReadOnce(std::string_view name, Reader read) {
    bool& seen = name == kPath ? path_seen_ : preserved_seen_;
    if (std::exchange(seen, true)) {
      return lexer_.Error(
          absl::StrFormat("the field \"%s\" is given twice", name));
    }
    TF_RETURN_IF_ERROR(ReadColon());
    TF_RETURN_IF_ERROR((this->*read)());
    return SkipSeparator();
  }

  absl::Status ReadRepeated(Reader read) {
    TF_RETURN_IF_ERROR(ReadColon());
    if (!lexer_.Is('[')) {
      TF_RETURN_IF_ERROR((this->*read)());
      return SkipSeparator();
    }
    TF_RETURN_IF_ERROR(lexer_.Next());
    while (!lexer_.Is(']')) {
      TF_RETURN_IF_ERROR((this->*read)());
      if (lexer_.Is(',')) {
        TF_RETURN_IF_ERROR(lexer_.Next());
      } else if (!lexer_.Is(']')) {
        return lexer_.Unexpected("',' or ']' in a list");
      }
    }
    TF_RETURN_IF_ERROR(lexer_.Next());
    return SkipSeparator();
  }

  absl::Status ReadPath() { return ReadString(&state_.model_checkpoint_path); }

  absl::Status ReadPathOfAll() {
    auto& all = state_.all_model_checkpoint_paths;
    TF_RETURN_IF_ERROR(CheckEntries(all.size()));
    return ReadString(&all.emplace_back());
  }

  absl::Status ReadPreserved() {
    return ReadNumber(&state_.last_preserved_timestamp.emplace());
  }

  absl::Status ReadTimestamp() {
    auto& all = state_.all_model_checkpoint_timestamps;
    TF_RETURN_IF_ERROR(CheckEntries(all.size()));
    return ReadNumber(&all.emplace_back());
  }

  absl::Status CheckEntries(size_t entries) const {
    if (entries < limits_.max_entries) return absl::OkStatus();
    return absl::ResourceExhaustedError(
        absl::StrFormat("the checkpoint state lists more than %d entries; "
                        "raise max_entries if that is meant",
                        limits_.max_entries));
  }

  // Goes on behind the name of a field and the colon after it.
  absl::Status ReadColon() {
    TF_RETURN_IF_ERROR(lexer_.Next());
    if (!lexer_.Is(':')) return lexer_.Unexpected("':' after a field's name");
    return lexer_.Next();
  }

  absl::Status SkipSeparator() {
    return lexer_.Is(';') || lexer_.Is(',') ? lexer_.Next() : absl::OkStatus();
  }

  // One string, or several in a row, which count as one.
  absl::Status ReadString(std::string* value) {
    if (lexer_.kind() != Lexer::Kind::kString) {
      return lexer_.Unexpected("a string");
    }
    while (lexer_.kind() == Lexer::Kind::kString) {
      value->append(lexer_.TakeString());
      TF_RETURN_IF_ERROR(lexer_.Next());
    }
    return absl::OkStatus();
  }

  absl::Status ReadNumber(double* value) {
    if (lexer_.kind() != Lexer::Kind::kWord) {
      return lexer_.Unexpected("a number");
    }
    std::string_view text = lexer_.text();
    if (!absl::SimpleAtod(text, value)) {
      if (!absl::ConsumeSuffix(&text, "f")) absl::ConsumeSuffix(&text, "F");
      if (!absl::SimpleAtod(text, value)) return lexer_.Unexpected("a number");
    }
    return lexer_.Next();
  }

  // A field that is not ours: its name, an optional colon, a value.
  absl::Status SkipField(int depth) {
    if (lexer_.Is('[')) {
      TF_RETURN_IF_ERROR(SkipExtensionName());
    } else if (lexer_.kind() != Lexer::Kind::kWord) {
      return lexer_.Unexpected("the name of a field");
    }
    TF_RETURN_IF_ERROR(lexer_.Next());
    const bool colon = lexer_.Is(':');
    if (colon) TF_RETURN_IF_ERROR(lexer_.Next());
    if (!colon && !lexer_.Is('{') && !lexer_.Is('<')) {
      return lexer_.Unexpected("':' or '{' after a field's name");
    }
    TF_RETURN_IF_ERROR(SkipValue(depth));
    return SkipSeparator();
  }

  // Up to the bracket that closes a name in brackets.
  absl::Status SkipExtensionName() {
    do {
      TF_RETURN_IF_ERROR(lexer_.Next());
    } while (lexer_.kind() == Lexer::Kind::kWord || lexer_.Is('/'));
    return lexer_.Is(']') ? absl::OkStatus() : lexer_.Unexpected("']'");
  }

  absl::Status SkipValue(int depth) {
    if (depth > kMaxDepth) return lexer_.Error("values nest too deep");
    if (lexer_.kind() == Lexer::Kind::kString) {
      std::string ignored;
      return ReadString(&ignored);
    }
    if (lexer_.kind() == Lexer::Kind::kWord) return lexer_.Next();
    if (lexer_.Is('{') || lexer_.Is('<')) {
      const char end = lexer_.Is('{') ? '}' : '>';
      TF_RETURN_IF_ERROR(lexer_.Next());
      while (!lexer_.Is(end)) TF_RETURN_IF_ERROR(SkipField(depth + 1));
      return lexer_.Next();
    }
    if (!lexer_.Is('[')) return lexer_.Unexpected("a value");
    TF_RETURN_IF_ERROR(lexer_.Next());
    while (!lexer_.Is(']')) {
      TF_RETURN_IF_ERROR(SkipValue(depth + 1));
      if (lexer_.Is(',')) {
        TF_RETURN_IF_ERROR(lexer_.Next());
      } else if (!lexer_.Is(']')) {
        return lexer_.Unexpected("',' or ']' in a list");
      }
    }
    return lexer_.Next();
  }

  const CheckpointStateLimits limits_;
  Lexer lexer_;
  bool path_seen_ = false;
  bool preserved_seen_ = false;
  CheckpointState state_;
};

// `text` in quotes: valid UTF-8 stays as it is, every other byte and every
// control character becomes an escape.
std::string Quote(std::string_view text) {
  constexpr std::string_view kSpecial = "\n\r\t\"'\\";
  constexpr std::string_view kEscapes = "nrt\"'\\";
  std::string out = "\"";
  while (!text.empty()) {
    const size_t special = kSpecial.find(text[0]);
    const size_t length = Utf8Length(text);
    if (special != std::string_view::npos) {
      out.push_back('\\');
      out.push_back(kEscapes[special]);
    } else if (length == 0 ||
               absl::ascii_iscntrl(static_cast<unsigned char>(text[0]))) {
      absl::StrAppendFormat(&out, "\\%03o",
                            static_cast<unsigned char>(text[0]));
    } else {
      out.append(text.substr(0, length));
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  out.push_back('"');
  return out;
}

// The shortest text that reads back as the same number.
std::string FormatNumber(double value) {
  if (std::isnan(value)) return "nan";
  char buffer[32];
  const auto result = std::to_chars(buffer, buffer + sizeof(buffer), value);
  return std::string(buffer, result.ptr);
}

}  // namespace

bool operator==(const CheckpointState& a, const CheckpointState& b) {
  const auto fields = [](const CheckpointState& state) {
    return std::tie(
        state.model_checkpoint_path, state.all_model_checkpoint_paths,
        state.all_model_checkpoint_timestamps, state.last_preserved_timestamp);
  };
  return fields(a) == fields(b);
}

absl::StatusOr<CheckpointState> ParseCheckpointState(
    std::string_view text, const CheckpointStateLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return absl::ResourceExhaustedError(absl::StrFormat(
        "the checkpoint state has %d bytes, more than the limit of %d; raise "
        "max_bytes if that is meant",
        text.size(), limits.max_bytes));
  }
  return Parser(text, limits).Parse();
}

std::string FormatCheckpointState(const CheckpointState& state) {
  std::string text;
  absl::StrAppend(&text, kPath, ": ", Quote(state.model_checkpoint_path), "\n");
  for (const std::string& path : state.all_model_checkpoint_paths) {
    absl::StrAppend(&text, kPaths, ": ", Quote(path), "\n");
  }
  for (const double seconds : state.all_model_checkpoint_timestamps) {
    absl::StrAppend(&text, kTimestamps, ": ", FormatNumber(seconds), "\n");
  }
  if (state.last_preserved_timestamp) {
    absl::StrAppend(&text, kPreserved, ": ",
                    FormatNumber(*state.last_preserved_timestamp), "\n");
  }
  return text;
}

}  // namespace tftrain
