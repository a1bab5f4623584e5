// Every cell there is, and those of this build. A new one: its header here, its line at the end of All, its name in
// cpp/cmake/cells.cmake.
#pragma once

#include "rekur/config.h"
#include "rekur/detail/cells/gru.hpp"
#include "rekur/detail/cells/gru_reset_before.hpp"
#include "rekur/detail/cells/lstm.hpp"
#include "rekur/detail/cells/lstm_variants.hpp"
#include "rekur/detail/cells/simple_rnn.hpp"

namespace rekur::cells {

template <class... Cells>
struct List {
  static constexpr int size = sizeof...(Cells);
};

template <bool built, class Cell>
struct If {};

// The cells of those Ifs that are built, after the ones of a list.
template <class Done, class... Ifs>
struct Chosen;
template <class... Done>
struct Chosen<List<Done...>> {
  using type = List<Done...>;
};
template <class... Done, class Cell, class... Ifs>
struct Chosen<List<Done...>, If<true, Cell>, Ifs...> : Chosen<List<Done..., Cell>, Ifs...> {};
template <class... Done, class Cell, class... Ifs>
struct Chosen<List<Done...>, If<false, Cell>, Ifs...> : Chosen<List<Done...>, Ifs...> {};

// clang-format off
using All = Chosen<List<>,
                   If<REKUR_CELL_SIMPLE_RNN, SimpleRnn>,
                   If<REKUR_CELL_LSTM, Lstm>,
                   If<REKUR_CELL_GRU, Gru>,
                   If<REKUR_CELL_GRU_RESET_BEFORE, GruResetBefore>,
                   If<REKUR_CELL_LSTM_PEEPHOLE, LstmPeephole>,
                   If<REKUR_CELL_LSTM_COUPLED, LstmCoupled>,
                   If<REKUR_CELL_LSTM_PEEPHOLE_COUPLED, LstmPeepholeCoupled>>::type;
// clang-format on

}  // namespace rekur::cells
