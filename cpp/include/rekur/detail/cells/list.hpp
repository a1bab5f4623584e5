// Every cell there is. A new one: its header here, its type at the end of the list.
#pragma once

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

using All = List<SimpleRnn, Lstm, Gru, GruResetBefore, LstmPeephole, LstmCoupled, LstmPeepholeCoupled>;

}  // namespace rekur::cells
