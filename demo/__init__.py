"""Two distributors share one database: TPC-H data, ordinary queries, hostile reads, and what became of each."""
