"""The functions and operators that are known to be harmless: they depend on their arguments, and change nothing."""

from __future__ import annotations

from sqlalchemy.sql import operators

__all__ = [
    "BINARY_OPERATORS",
    "FIELDS",
    "HARMLESS_FUNCTIONS",
    "HARMLESS_OPERATORS",
    "MODIFIERS",
    "RESERVED_COLUMNS",
    "SEPARATORS",
    "UNARY_OPERATORS",
    "Operators",
    "reads_catalogs",
]


class Operators:
    """Operators of SQLAlchemy's, known by identity: an object of another kind may say that it is equal to one."""

    def __init__(self, names: str) -> None:
        self._known = {id(operator): operator for operator in (getattr(operators, name) for name in names.split())}

    def __contains__(self, operator: object) -> bool:
        return id(operator) in self._known


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# A function stands here if, called with a tenant's values, it can neither read what it is not given (tables,
# settings, files, statistics, sequences, the state of the connection) nor change anything. Functions that take SQL
# text, a table's name or a path are out (query_to_xml, ts_stat, ts_rewrite, dblink, pg_read_file, load_extension), and
# so are set_config and current_setting, nextval and its kin, advisory locks, pg_sleep, last_insert_rowid and changes.
_AGGREGATES = _words("""
    any_value array_agg avg bit_and bit_or bit_xor bool_and bool_or corr count covar_pop covar_samp every
    group_concat json_agg json_agg_strict json_arrayagg json_group_array json_group_object json_object_agg
    json_object_agg_strict json_object_agg_unique json_objectagg jsonb_agg jsonb_agg_strict jsonb_group_array
    jsonb_group_object jsonb_object_agg jsonb_object_agg_strict jsonb_object_agg_unique max median min mode
    percentile_cont percentile_disc range_agg range_intersect_agg regr_avgx regr_avgy regr_count regr_intercept
    regr_r2 regr_slope regr_sxx regr_sxy regr_syy stddev stddev_pop stddev_samp string_agg sum total var_pop
    var_samp variance xmlagg aggregate_strings
""")
_WINDOWS = _words("""
    cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank row_number
""")
_GROUPING = _words("cube grouping grouping_sets rollup")
_CONDITIONAL = _words("coalesce greatest least ifnull iif nullif num_nonnulls num_nulls likelihood likely unlikely")
_NUMBERS = _words("""
    abs acos acosd acosh asin asind asinh atan atan2 atan2d atand atanh cbrt ceil ceiling cos cosd cosh cot cotd
    degrees div erf erfc exp factorial floor gamma gcd lcm lgamma ln log log10 log2 min_scale mod pi pow power
    int4 int8 float8 numeric
    radians random random_normal round scale sign sin sind sinh sqrt tan tand tanh trim_scale trunc truncate
    width_bucket to_number to_hex to_bin to_oct
""")
_TEXT = _words("""
    ascii bit_count bit_length btrim casefold char char_length character_length chr concat concat_ws convert
    convert_from convert_to crc32 crc32c decode encode format get_bit get_byte glob hex initcap instr left length
    like lower lpad ltrim md5 normalize octet_length overlay parse_ident position printf quote quote_ident
    quote_literal quote_nullable regexp regexp_count regexp_instr regexp_like regexp_match regexp_matches
    regexp_replace regexp_split_to_array regexp_split_to_table regexp_substr repeat replace reverse right rpad rtrim
    set_bit set_byte sha224 sha256 sha384 sha512 soundex split_part starts_with string_to_array string_to_table
    strpos substr substring to_ascii to_char translate trim typeof unhex unicode unistr upper zeroblob randomblob
    digest hmac crypt
    gen_random_bytes difference hashtext hashtextextended pg_size_pretty xmlelement xmlforest xpath varchar
    collation_for similarity word_similarity strict_word_similarity levenshtein metaphone dmetaphone unaccent
""")
_TIMES = _words("""
    age clock_timestamp current_date current_time current_timestamp date date_add date_bin date_part date_subtract
    date_trunc datetime extract isfinite julianday justify_days justify_hours justify_interval localtime
    localtimestamp make_date make_interval make_time make_timestamp make_timestamptz now statement_timestamp
    strftime time timestamptz
    timediff timeofday timestamp timezone to_date to_timestamp transaction_timestamp unixepoch sysdate
""")
_IDS = _words("""
    gen_random_uuid uuid_extract_timestamp uuid_extract_version uuid_generate_v1 uuid_generate_v1mc uuid_generate_v3
    uuid_generate_v4 uuid_generate_v5 uuidv4 uuidv7
""")
_ARRAYS_AND_RANGES = _words("""
    array_append array_cat array_dims array_fill array_length array_lower array_ndims array_position array_positions
    array_prepend array_remove array_replace array_reverse array_sample array_shuffle array_sort array_to_string
    array_upper cardinality trim_array unnest generate_series generate_subscripts daterange int4range int8range
    numrange tsrange tstzrange datemultirange int4multirange int8multirange nummultirange tsmultirange
    tstzmultirange isempty lower_inc lower_inf upper_inc upper_inf range_merge multirange
""")
_JSON = _words("""
    array_to_json json json_array json_array_elements json_array_elements_text json_array_length json_build_array
    json_build_object json_each json_each_text json_error_position json_exists json_extract json_extract_path
    json_extract_path_text json_insert json_object json_object_keys json_patch json_populate_record
    json_populate_recordset json_pretty json_query json_quote json_remove json_replace json_scalar json_serialize
    json_set json_strip_nulls json_to_record json_to_recordset json_tree json_type json_typeof json_valid json_value
    jsonb jsonb_array jsonb_array_elements jsonb_array_elements_text jsonb_array_length jsonb_build_array
    jsonb_build_object jsonb_concat jsonb_contains jsonb_each jsonb_each_text jsonb_exists jsonb_exists_all
    jsonb_exists_any jsonb_extract jsonb_extract_path jsonb_extract_path_text jsonb_insert jsonb_object
    jsonb_object_keys jsonb_patch jsonb_path_exists jsonb_path_exists_tz jsonb_path_match jsonb_path_match_tz
    jsonb_path_query jsonb_path_query_array jsonb_path_query_array_tz jsonb_path_query_first
    jsonb_path_query_first_tz jsonb_path_query_tz jsonb_populate_record jsonb_populate_recordset jsonb_pretty
    jsonb_remove jsonb_replace jsonb_set jsonb_set_lax jsonb_strip_nulls jsonb_to_record jsonb_to_recordset
    jsonb_tree jsonb_typeof row_to_json row to_json to_jsonb akeys avals defined delete each exist hstore
    hstore_to_array hstore_to_json hstore_to_jsonb hstore_to_matrix skeys slice svals
""")
_TEXT_SEARCH = _words("""
    array_to_tsvector json_to_tsvector jsonb_to_tsvector numnode phraseto_tsquery plainto_tsquery querytree
    setweight strip to_tsquery to_tsvector ts_delete ts_filter ts_headline ts_rank ts_rank_cd tsquery_phrase
    tsvector_to_array websearch_to_tsquery
""")
_NETWORK_AND_GEOMETRY = _words("""
    abbrev broadcast family host hostmask inet_merge inet_same_family macaddr8_set7bit masklen netmask network
    set_masklen text area box center circle diagonal diameter height isclosed isopen line lseg npoints path pclose
    point polygon popen radius slope width
""")
_SAMPLING = _words("bernoulli system")
_EARTH = _words("earth_distance ll_to_earth")
_LTREE = _words("index lca ltree2text nlevel show_trgm subltree subpath text2ltree")
_FACTS = _words(
    "current_role current_database current_schema current_user session_user user version pg_typeof sqlite_version"
)
_POSTGIS = frozenset(
    "st_" + name
    for name in """
    addpoint area asbinary asewkb asewkt asgeojson asgml askml asmvtgeom aspolyline assvg astext astwkb azimuth
    boundary boundingdiagonal buffer buildarea centroid chaikinsmoothing closestpoint clusterdbscan clusterkmeans
    collect collectionextract concavehull contains containsproperly convexhull coorddim coveredby covers crosses
    curvetoline delaunaytriangles difference dimension disjoint distance distancesphere distancespheroid dump
    dumppoints dumprings dwithin endpoint envelope equals expand exteriorring flipcoordinates force2d force3d
    generatepoints geogfromtext geohash geomcollfromtext geometryfromtext geometryn geometrytype geomfromewkb
    geomfromewkt geomfromgeojson geomfromgml geomfromkml geomfromtext geomfromwkb hausdorffdistance interiorringn
    interpolatepoint intersection intersects isclosed iscollection isempty ispolygonccw ispolygoncw isring issimple
    isvalid isvaliddetail isvalidreason length length2d length3d linefrommultipoint lineinterpolatepoint
    linelocatepoint linemerge linesubstring linetocurve longestline m makeenvelope makeline makepoint makepointm
    makepolygon makevalid maxdistance minimumboundingcircle multi ndims node normalize npoints nrings numgeometries
    numinteriorrings numpoints offsetcurve orderingequals overlaps perimeter point pointfromtext pointinsidecircle
    pointn pointonsurface points polygon polygonize project quantizecoordinates reduceprecision relate removepoint
    removerepeatedpoints reverse rotate scale segmentize setpoint setsrid sharedpaths shortestline simplify
    simplifypreservetopology simplifyvw snap snaptogrid split srid startpoint subdivide summary swapordinates
    symdifference tileenvelope touches transform translate transscale unaryunion union voronoilines voronoipolygons
    within wrapx x xmax xmin y ymax ymin z zmax zmin
    """.split()
)
_PGVECTOR = _words("""
    binary_quantize cosine_distance hamming_distance inner_product jaccard_distance l1_distance l2_distance
    l2_normalize l2_norm subvector vector_dims vector_norm
""")

HARMLESS_FUNCTIONS: frozenset[str] = (
    _AGGREGATES | _WINDOWS | _GROUPING | _CONDITIONAL | _NUMBERS | _TEXT | _TIMES | _IDS | _ARRAYS_AND_RANGES | _JSON
) | (_TEXT_SEARCH | _NETWORK_AND_GEOMETRY | _SAMPLING | _EARTH | _LTREE | _FACTS | _POSTGIS | _PGVECTOR)

# Operators that may be written with .op("..."). All bind tighter than AND and OR in PostgreSQL's and SQLite's grammars,
# so none can swallow a criterion that is added with AND. (PostgreSQL manual, 4.1.6 Operator Precedence.)
HARMLESS_OPERATORS: frozenset[str] = _words(r"""
    + - * / % %% ^ = <> != < <= > >= == || | & # ~ << >> ~* !~ !~* ~~ ~~* !~~ !~~* ^@ @ @@ @@@ |/ ||/
    -> ->> #> #>> #- @> <@ ? ?| ?& @? && &< &> -|- <<| |>> &<| |&> <-> <#> <=> <+> <~> <%> <<-> <->> <<<-> <->>> ~=
    ?# ?- ?|| ?-| ## <^ >^ << <<= >>= &<| <<% %> %>> <% LIKE ILIKE GLOB REGEXP MATCH OVERLAPS IS
""") | frozenset(
    {"IS NOT", "NOT LIKE", "NOT ILIKE", "IS DISTINCT FROM", "IS NOT DISTINCT FROM", "SIMILAR TO", "AT TIME ZONE"}
    | {"NOT SIMILAR TO", "NOT GLOB", "NOT REGEXP"}
)

# SQLAlchemy's own operators, by the places where each means something. FROM, AS and the like are operators to it, too.
BINARY_OPERATORS = Operators("""
    add sub mul truediv floordiv mod eq ne lt le gt ge is_ is_not is_distinct_from is_not_distinct_from in_op not_in_op
    like_op not_like_op ilike_op not_ilike_op between_op not_between_op contains_op not_contains_op icontains_op
    not_icontains_op startswith_op not_startswith_op istartswith_op not_istartswith_op endswith_op not_endswith_op
    iendswith_op not_iendswith_op match_op not_match_op regexp_match_op not_regexp_match_op regexp_replace_op concat_op
    and_ or_ collate getitem json_getitem_op json_path_getitem_op function_as_comparison_op bitwise_and_op bitwise_or_op
    bitwise_xor_op bitwise_lshift_op bitwise_rshift_op
""")
UNARY_OPERATORS = Operators("neg inv exists distinct_op any_op all_op bitwise_not_op is_true is_false")
MODIFIERS = Operators("asc_op desc_op nulls_first_op nulls_last_op")
SEPARATORS = Operators("comma_op and_ or_ add mul concat_op bitwise_and_op bitwise_or_op bitwise_xor_op")

# What PostgreSQL's functions call the columns they return. Any other name after a dot may be that of a function.
FIELDS: frozenset[str] = _words("key value ordinality lexeme positions weights path geom")

# Columns that every table has without declaring them; they tell where a row lies among all tenants' rows.
# (PostgreSQL manual, 5.6 System Columns; SQLite, ROWIDs and the INTEGER PRIMARY KEY.)
RESERVED_COLUMNS: frozenset[str] = _words("ctid xmin xmax cmin cmax tableoid rowid _rowid_ oid")

_CATALOG_TYPES = _words("oid xid cid tid xid8 pg_lsn txid_snapshot pg_snapshot")


def reads_catalogs(type_name: str) -> bool:
    """Whether a type looks names up in PostgreSQL's catalogs (regclass and its kin), or tells of them; arrays too."""
    name = type_name.lower().lstrip("_")
    return name.startswith("reg") or name in _CATALOG_TYPES
