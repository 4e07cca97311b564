-- Macros for DuckDB that decode what `kvm-htab export` writes without --decoded: .read kvm-htab.sql
--
-- FROM hpt_tables('fleet/*.parquet')   a row for each file: whose table it is
-- FROM hpt_entries('fleet/*.parquet')  a row for each entry, with the columns of --decoded, of the same types
--
-- The others take the columns ptex, v and r, the table's order, and 64K or 4K, the page size of the guest's kernel. They are NULL
-- where an entry has no such thing: a reserved segment or page size, a guest that is not Linux.

CREATE OR REPLACE MACRO hpt_pteg(ptex) AS ptex // 8;
CREATE OR REPLACE MACRO hpt_slot(ptex) AS ptex % 8;
CREATE OR REPLACE MACRO hpt_secondary(v) AS v & 2 <> 0;
CREATE OR REPLACE MACRO hpt_bolted(v) AS v & 16 <> 0;
CREATE OR REPLACE MACRO hpt_segment(v) AS CASE v >> 62 WHEN 0 THEN '256M' WHEN 1 THEN '1T' END;

-- log2 of page sizes, by the LP code where L is set.
CREATE OR REPLACE MACRO hpt_lp(r) AS (r >> 12) & 255;
CREATE OR REPLACE MACRO hpt_base_page_shift(v, r) AS CASE
  WHEN v & 4 = 0 THEN 12
  WHEN hpt_lp(r) & 15 = 7 OR hpt_lp(r) = 56 THEN 12
  WHEN hpt_lp(r) & 15 = 1 OR hpt_lp(r) = 8 THEN 16
  WHEN hpt_lp(r) = 0 THEN 24
  WHEN hpt_lp(r) = 3 THEN 34
END;
CREATE OR REPLACE MACRO hpt_actual_page_shift(v, r) AS CASE
  WHEN v & 4 = 0 THEN 12
  WHEN hpt_lp(r) & 15 IN (1, 7) THEN 16
  WHEN hpt_lp(r) IN (0, 8, 56) THEN 24
  WHEN hpt_lp(r) = 3 THEN 34
END;

CREATE OR REPLACE MACRO hpt_readable(v, r) AS v >> 63 = 0 AND hpt_base_page_shift(v, r) IS NOT NULL;
CREATE OR REPLACE MACRO hpt_guest_address(v, r) AS
  (r & 1152921504606842880) // (1::UBIGINT << hpt_actual_page_shift(v, r)) * (1::UBIGINT << hpt_actual_page_shift(v, r));
CREATE OR REPLACE MACRO hpt_pp(r) AS (r >> 63) * 4 + (r & 3);
CREATE OR REPLACE MACRO hpt_storage_key(r) AS ((r >> 57) & 24) + ((r >> 9) & 7);
CREATE OR REPLACE MACRO hpt_wimg(r) AS (r >> 3) & 15;

-- The virtual page: the AVPN has its upper bits, and the group those that the hash adds.
CREATE OR REPLACE MACRO hpt_vsid(v) AS
  CASE v >> 62 WHEN 0 THEN (v >> 12) & 1125899906842623 WHEN 1 THEN (v >> 24) & 274877906943 END;
CREATE OR REPLACE MACRO hpt_segment_hash(v) AS
  CASE v >> 62 WHEN 1 THEN xor(hpt_vsid(v), (hpt_vsid(v) & 16383) << 25) ELSE hpt_vsid(v) END;
CREATE OR REPLACE MACRO hpt_upper_offset(v, r) AS
  ((v >> 7) & CASE v >> 62 WHEN 1 THEN 131071::UBIGINT ELSE 31::UBIGINT END)
    // (1::UBIGINT << greatest(hpt_base_page_shift(v, r) - 23, 0)) * (1::UBIGINT << greatest(hpt_base_page_shift(v, r), 23));
-- What segment and group give of the page's number, all bits of the group's.
CREATE OR REPLACE MACRO hpt_hashed(ptex, v, table_order) AS
  xor(hpt_segment_hash(v), CASE WHEN hpt_secondary(v) THEN (1::UBIGINT << (table_order - 7)) - 1 - hpt_pteg(ptex) ELSE hpt_pteg(ptex) END)
    & ((1::UBIGINT << (table_order - 7)) - 1);
CREATE OR REPLACE MACRO hpt_any_offset(ptex, v, r, table_order) AS
  hpt_upper_offset(v, r) + CASE WHEN hpt_base_page_shift(v, r) < 23
    THEN (hpt_hashed(ptex, v, table_order) & ((1::UBIGINT << (23 - hpt_base_page_shift(v, r))) - 1)) << hpt_base_page_shift(v, r)
    ELSE 0 END;
CREATE OR REPLACE MACRO hpt_misplaced(ptex, v, r, table_order) AS
  hpt_readable(v, r) AND (
    (hpt_base_page_shift(v, r) = 34 AND v >> 62 = 0)
    OR (hpt_any_offset(ptex, v, r, table_order) >> hpt_base_page_shift(v, r)) & ((1::UBIGINT << (table_order - 7)) - 1)
      <> hpt_hashed(ptex, v, table_order));
CREATE OR REPLACE MACRO hpt_placed(ptex, v, r, table_order) AS
  hpt_readable(v, r) AND NOT hpt_misplaced(ptex, v, r, table_order);
CREATE OR REPLACE MACRO hpt_segment_offset(ptex, v, r, table_order) AS
  CASE WHEN hpt_placed(ptex, v, r, table_order) THEN hpt_any_offset(ptex, v, r, table_order) END;

-- Linux since 4.12: it multiplies context and segment number modulo 2^n - 1.
CREATE OR REPLACE MACRO hpt_is_vrma(v) AS v >> 62 = 1 AND hpt_vsid(v) = 33554431;
CREATE OR REPLACE MACRO hpt_proto_vsid(v) AS CASE v >> 62
  WHEN 0 THEN CASE WHEN hpt_vsid(v) < 1099511627775
    THEN (hpt_vsid(v)::HUGEINT * 665548017062 % 1099511627775)::UBIGINT END
  WHEN 1 THEN CASE WHEN hpt_vsid(v) < 268435455
    THEN (hpt_vsid(v)::HUGEINT * 209034062 % 268435455)::UBIGINT END
END;
CREATE OR REPLACE MACRO hpt_context(v) AS CASE
  WHEN hpt_is_vrma(v) THEN 0
  ELSE nullif(hpt_proto_vsid(v) >> CASE v >> 62 WHEN 1 THEN 9 ELSE 21 END, 0)
END;
CREATE OR REPLACE MACRO hpt_region(context, kernel_pages) AS CASE
  WHEN context = 0 THEN 'vrma'
  WHEN context <= CASE kernel_pages WHEN '64K' THEN 4 WHEN '4K' THEN 1 END THEN 'linear'
  WHEN context = CASE kernel_pages WHEN '64K' THEN 5 WHEN '4K' THEN 2 END THEN 'vmalloc'
  WHEN context = CASE kernel_pages WHEN '64K' THEN 6 WHEN '4K' THEN 3 END THEN 'io'
  WHEN context = CASE kernel_pages WHEN '64K' THEN 7 WHEN '4K' THEN 4 END THEN 'vmemmap'
  WHEN context > CASE kernel_pages WHEN '64K' THEN 7 WHEN '4K' THEN 4 END THEN 'process'
END;
-- Contexts are 2^49 bytes apart; with 64K vmalloc, I/O and vmemmap begin at 0xc008000000000000, with 4K all are in one.
CREATE OR REPLACE MACRO hpt_context_base(context, kernel_pages) AS CASE hpt_region(context, kernel_pages)
  WHEN 'vrma' THEN 0::UBIGINT
  WHEN 'process' THEN 0::UBIGINT
  WHEN 'linear' THEN 13835058055282163712::UBIGINT + (context - 1) * 562949953421312::UBIGINT
  ELSE CASE kernel_pages
    WHEN '64K' THEN 13837309855095848960::UBIGINT + (context - 5) * 562949953421312::UBIGINT
    WHEN '4K' THEN 13835058055282163712::UBIGINT END
END;
CREATE OR REPLACE MACRO hpt_effective_address(ptex, v, r, table_order, kernel_pages) AS
  hpt_segment_offset(ptex, v, r, table_order) + CASE
    WHEN kernel_pages IS NULL THEN NULL
    WHEN hpt_is_vrma(v) THEN 0::UBIGINT
    ELSE hpt_context_base(hpt_context(v), kernel_pages) + CASE v >> 62
      WHEN 1 THEN (hpt_proto_vsid(v) & 511) << 40
      ELSE (hpt_proto_vsid(v) & 2097151) << 28 END
  END;

CREATE OR REPLACE MACRO hpt_tables(files) AS TABLE
SELECT
  file_name AS file,
  max(decode(value)) FILTER (decode(key) = 'kvm-htab.source') AS source,
  max(decode(value)) FILTER (decode(key) = 'kvm-htab.host') AS host,
  (max(decode(value)) FILTER (decode(key) = 'kvm-htab.order'))::INTEGER AS table_order,
  (max(decode(value)) FILTER (decode(key) = 'kvm-htab.valid_entries'))::BIGINT AS valid_entries,
  max(decode(value)) FILTER (decode(key) = 'kvm-htab.digest') AS digest,
  max(decode(value)) FILTER (decode(key) = 'kvm-htab.kernel_pages') AS kernel_pages
FROM parquet_kv_metadata(files)
GROUP BY file_name;

CREATE OR REPLACE MACRO hpt_entries(files) AS TABLE
WITH entry AS (
  SELECT e.ptex, e.v, e.r, t.source, t.table_order, t.kernel_pages,
    hpt_readable(e.v, e.r) AS readable, hpt_placed(e.ptex, e.v, e.r, t.table_order) AS placed
  FROM read_parquet(files, filename = true) e JOIN hpt_tables(files) t ON e.filename = t.file
), linux AS (
  SELECT *, CASE WHEN placed AND kernel_pages IS NOT NULL THEN hpt_context(v) END AS context FROM entry
)
SELECT
  source,
  table_order,
  ptex::BIGINT AS ptex,
  hpt_pteg(ptex)::BIGINT AS pteg,
  hpt_slot(ptex)::INTEGER AS slot,
  CASE WHEN readable THEN hpt_secondary(v) END AS secondary,
  CASE WHEN readable THEN hpt_bolted(v) END AS bolted,
  CASE WHEN readable THEN hpt_segment(v) END AS segment,
  CASE WHEN readable THEN hpt_base_page_shift(v, r) END AS base_page_shift,
  CASE WHEN readable THEN hpt_actual_page_shift(v, r) END AS actual_page_shift,
  (CASE WHEN readable THEN hpt_guest_address(v, r) END)::BIGINT AS guest_address,
  (CASE WHEN readable THEN hpt_pp(r) END)::INTEGER AS pp,
  (CASE WHEN readable THEN hpt_storage_key(r) END)::INTEGER AS storage_key,
  (CASE WHEN readable THEN hpt_wimg(r) END)::INTEGER AS wimg,
  CASE WHEN readable THEN r & 4 <> 0 END AS no_execute,
  CASE WHEN readable THEN r & 256 <> 0 END AS referenced,
  CASE WHEN readable THEN r & 128 <> 0 END AS changed,
  readable AND NOT placed AS misplaced,
  (CASE WHEN placed THEN hpt_vsid(v) END)::BIGINT AS vsid,
  hpt_segment_offset(ptex, v, r, table_order)::BIGINT AS segment_offset,
  context::INTEGER AS context,
  hpt_region(context, kernel_pages) AS region,
  hpt_effective_address(ptex, v, r, table_order, kernel_pages)::UBIGINT AS effective_address
FROM linux;
