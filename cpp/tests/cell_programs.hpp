// Cells as programs, as a spec writes them: those that the engine has compiled, and some that it has not.
#pragma once

#include <string>

namespace rekur::test {

inline const std::string kLstmProgram = R"({"name": "lstm", "states": ["h", "c"], "kernel": ["x.i", "x.f", "x.g", "x.o"],
  "recurrent": [["h.i", "h"], ["h.f", "h"], ["h.g", "h"], ["h.o", "h"]], "forget": "x.f", "equations": {
  "inputs": ["x.i", "x.f", "x.g", "x.o", "h.i", "h.f", "h.g", "h.o", "h", "c"], "nodes": [
  ["add", 0, 4], ["sigmoid", 10], ["add", 1, 5], ["sigmoid", 12], ["add", 2, 6], ["tanh", 14], ["add", 3, 7], ["sigmoid", 16],
  ["multiply", 13, 9], ["multiply", 11, 15], ["add", 18, 19], ["tanh", 20], ["multiply", 17, 21]], "outputs": [22, 20]}})";

inline const std::string kGruProgram = R"({"name": "gru", "states": ["h"], "kernel": ["x.z", "x.r", "x.n"],
  "recurrent": [["h.z", "h"], ["h.r", "h"], ["h.n", "h"]], "recurrent_bias": true, "equations": {
  "inputs": ["x.z", "x.r", "x.n", "h.z", "h.r", "h.n", "h"], "nodes": [["add", 0, 3], ["sigmoid", 7], ["add", 1, 4],
  ["sigmoid", 9], ["multiply", 10, 5], ["add", 2, 11], ["tanh", 12], ["subtract", 6, 13], ["multiply", 8, 14], ["add", 13, 15]],
  "outputs": [16]}})";

// A value made in the step is multiplied.
inline const std::string kGruResetBeforeProgram = R"({"name": "gru_reset_before", "states": ["h"], "kernel": ["x.z", "x.r", "x.n"],
  "recurrent": [["h.z", "h"], ["h.r", "h"], ["p.n", 11]], "equations": {
  "inputs": ["x.z", "x.r", "x.n", "h.z", "h.r", "p.n", "h"], "nodes": [["add", 0, 3], ["sigmoid", 7], ["add", 1, 4],
  ["sigmoid", 9], ["multiply", 10, 6], ["add", 2, 5], ["tanh", 12], ["subtract", 6, 13], ["multiply", 8, 14], ["add", 13, 15]],
  "outputs": [16]}})";

inline const std::string kSimpleProgram = R"({"name": "simple_rnn", "states": ["h"], "kernel": ["x.a"], "recurrent": [["h.a", "h"]],
  "equations": {"inputs": ["x.a", "h.a", "h"], "nodes": [["add", 0, 1], ["tanh", 3]], "outputs": [4]}})";

// No recurrent product at all.
inline const std::string kMinGruProgram = R"({"name": "min_gru", "states": ["h"], "kernel": ["x.z", "x.n"], "recurrent": [],
  "equations": {"inputs": ["x.z", "x.n", "h"], "nodes": [["sigmoid", 0], ["subtract", 1, 2], ["multiply", 3, 4], ["add", 2, 5]],
  "outputs": [6]}})";

// Two states that are multiplied, a value that is, a weight a unit, the row's mean, and a third state handed on.
inline const std::string kManyProgram = R"({"name": "many", "states": ["h", "c", "k"], "kernel": ["x.a", "x.b"],
  "recurrent": [["h.a", "h"], ["c.a", "c"], ["p.b", 14]], "weights": [{"name": "u", "initializer": "ones"}], "equations": {
  "inputs": ["x.a", "x.b", "h.a", "c.a", "p.b", "h", "c", "k", "u"], "nodes": [["add", 0, 2], ["multiply", 3, 8], ["add", 9, 10],
  ["tanh", 11], ["maximum", 6, 12], ["multiply", 12, 6], ["add", 1, 4], ["sigmoid", 15], ["mean", 13], ["subtract", 13, 17],
  ["multiply", 16, 12], ["add", 19, 7]], "outputs": [20, 18, 5]}})";

// A value is multiplied by more blocks than the kernels take at once.
inline const std::string kWideProgram = R"({"name": "wide", "states": ["h"], "kernel": ["x.a"], "recurrent": [["h.a", "h"],
  ["p.a", 11], ["p.b", 11], ["p.c", 11], ["p.d", 11], ["p.e", 11]], "equations": {
  "inputs": ["x.a", "h.a", "p.a", "p.b", "p.c", "p.d", "p.e", "h"], "nodes": [["add", 0, 1], ["tanh", 8], ["multiply", 9, 7],
  ["add", 9, 10], ["tanh", 2], ["sigmoid", 3], ["multiply", 12, 13], ["multiply", 4, 5], ["add", 14, 15], ["multiply", 6, 9],
  ["add", 16, 17], ["tanh", 18]], "outputs": [19]}})";

}  // namespace rekur::test
