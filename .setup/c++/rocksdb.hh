// The headers that most files of RocksDB include: `cxx` beside this compiles them once.
#include "db/db_impl/db_impl.h"
#include "rocksdb/convenience.h"
#include "rocksdb/utilities/object_registry.h"
#include "rocksdb/utilities/options_type.h"
#include "table/block_based/block_based_table_reader.h"
#include "utilities/merge_operators.h"
