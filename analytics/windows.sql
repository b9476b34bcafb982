-- SPDX-License-Identifier: Apache-2.0
-- What was delivered of each channel, over windows that tumble and windows that slide. Copies of an event count once in
-- each window; every number is an integer, rounded down. Runs on tables.sql; ${WINDOW_SECONDS} and ${SLIDE_SECONDS}
-- are filled in: see README.md.

CREATE TEMPORARY VIEW deliveries AS
SELECT
  id, `time`, data.channel AS channel,
  data.requests AS requests, data.hits AS hits, data.stale AS stale, data.errors AS errors, data.refused AS refused,
  data.`bytes` AS `bytes`, data.origin_requests AS origin_requests, data.prefetches AS prefetches,
  data.origin_bytes AS origin_bytes,
  data.fills.le_1 AS le_1, data.fills.le_2 AS le_2, data.fills.le_5 AS le_5, data.fills.le_10 AS le_10,
  data.fills.le_20 AS le_20, data.fills.le_35 AS le_35, data.fills.le_50 AS le_50, data.fills.le_75 AS le_75,
  data.fills.le_100 AS le_100, data.fills.le_150 AS le_150, data.fills.le_200 AS le_200, data.fills.le_350 AS le_350,
  data.fills.le_500 AS le_500, data.fills.le_1000 AS le_1000, data.fills.le_2500 AS le_2500,
  data.fills.`more` AS more_ms
FROM health
WHERE `type` = 'delivery' AND id IS NOT NULL AND data.channel IS NOT NULL;

-- Windows one after the other.
CREATE TEMPORARY VIEW tumbling_sums AS
SELECT
  window_start, window_end, channel, COUNT(*) AS deliveries,
  SUM(requests) AS requests, SUM(hits) AS hits, SUM(stale) AS stale, SUM(errors) AS errors, SUM(refused) AS refused,
  SUM(`bytes`) AS `bytes`, SUM(origin_requests) AS origin_requests, SUM(prefetches) AS prefetches,
  SUM(origin_bytes) AS origin_bytes,
  SUM(le_1) AS le_1, SUM(le_2) AS le_2, SUM(le_5) AS le_5, SUM(le_10) AS le_10, SUM(le_20) AS le_20,
  SUM(le_35) AS le_35, SUM(le_50) AS le_50, SUM(le_75) AS le_75, SUM(le_100) AS le_100, SUM(le_150) AS le_150,
  SUM(le_200) AS le_200, SUM(le_350) AS le_350, SUM(le_500) AS le_500, SUM(le_1000) AS le_1000, SUM(le_2500) AS le_2500,
  SUM(le_1 + le_2 + le_5 + le_10 + le_20 + le_35 + le_50 + le_75 + le_100 + le_150 + le_200 + le_350 + le_500 + le_1000
    + le_2500 + more_ms) AS fills
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, id ORDER BY `time`) AS copy
  FROM TABLE(
    TUMBLE(TABLE deliveries, DESCRIPTOR(`time`), INTERVAL '${WINDOW_SECONDS}' SECOND))
)
WHERE copy = 1
GROUP BY window_start, window_end, channel;

-- A window every slide.
CREATE TEMPORARY VIEW sliding_sums AS
SELECT
  window_start, window_end, channel, COUNT(*) AS deliveries,
  SUM(requests) AS requests, SUM(hits) AS hits, SUM(stale) AS stale, SUM(errors) AS errors, SUM(refused) AS refused,
  SUM(`bytes`) AS `bytes`, SUM(origin_requests) AS origin_requests, SUM(prefetches) AS prefetches,
  SUM(origin_bytes) AS origin_bytes,
  SUM(le_1) AS le_1, SUM(le_2) AS le_2, SUM(le_5) AS le_5, SUM(le_10) AS le_10, SUM(le_20) AS le_20,
  SUM(le_35) AS le_35, SUM(le_50) AS le_50, SUM(le_75) AS le_75, SUM(le_100) AS le_100, SUM(le_150) AS le_150,
  SUM(le_200) AS le_200, SUM(le_350) AS le_350, SUM(le_500) AS le_500, SUM(le_1000) AS le_1000, SUM(le_2500) AS le_2500,
  SUM(le_1 + le_2 + le_5 + le_10 + le_20 + le_35 + le_50 + le_75 + le_100 + le_150 + le_200 + le_350 + le_500 + le_1000
    + le_2500 + more_ms) AS fills
FROM (
  SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, id ORDER BY `time`) AS copy
  FROM TABLE(
    HOP(TABLE deliveries, DESCRIPTOR(`time`), INTERVAL '${SLIDE_SECONDS}' SECOND, INTERVAL '${WINDOW_SECONDS}' SECOND))
)
WHERE copy = 1
GROUP BY window_start, window_end, channel;

INSERT INTO tumbling
SELECT
  channel,
  DATE_FORMAT(window_start, 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z'''),
  DATE_FORMAT(window_end, 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z'''),
  deliveries, requests, hits, stale, errors, refused, `bytes`, origin_requests, prefetches, origin_bytes, fills,
  hits * 1000 / NULLIF(requests, 0),
  errors * 1000 / NULLIF(requests, 0),
  origin_requests * 1000 / ${WINDOW_SECONDS},
  `bytes` * 8 / ${WINDOW_SECONDS},
  -- The bound of the class in which the nearest rank of the 95th of a hundred lies.
  CASE
    WHEN fills = 0 THEN CAST(NULL AS BIGINT)
    WHEN le_1 >= (fills * 95 + 99) / 100 THEN 1
    WHEN le_1 + le_2 >= (fills * 95 + 99) / 100 THEN 2
    WHEN le_1 + le_2 + le_5 >= (fills * 95 + 99) / 100 THEN 5
    WHEN le_1 + le_2 + le_5 + le_10 >= (fills * 95 + 99) / 100 THEN 10
    WHEN le_1 + le_2 + le_5 + le_10 + le_20 >= (fills * 95 + 99) / 100 THEN 20
    WHEN le_1 + le_2 + le_5 + le_10 + le_20 + le_35 >= (fills * 95 + 99) / 100 THEN 35
    WHEN le_1 + le_2 + le_5 + le_10 + le_20 + le_35 + le_50 >= (fills * 95 + 99) / 100 THEN 50
    WHEN le_1 + le_2 + le_5 + le_10 + le_20 + le_35 + le_50 + le_75 >= (fills * 95 + 99) / 100 THEN 75
    WHEN le_1 + le_2 + le_5 + le_10 + le_20 + le_35 + le_50 + le_75 + le_100 >= (fills * 95 + 99) / 100 THEN 100
    WHEN le_1 + le_2 + le_5 + le_10 + le_20 + le_35 + le_50 + le_75
      + le_100 + le_150 >= (fills * 95 + 99) / 100 THEN 150
    WHEN le_1 + le_2 + le_5 + le_10 + le_20 + le_35 + le_50 + le_75
      + le_100 + le_150 + le_200 >= (fills * 95 + 99) / 100 THEN 200
    WHEN le_1 + le_2 + le_5 + le_10 + le_20 + le_35 + le_50 + le_75
      + le_100 + le_150 + le_200 + le_350 >= (fills * 95 + 99) / 100 THEN 350
    WHEN le_1 + le_2 + le_5 + le_10 + le_20 + le_35 + le_50 + le_75
      + le_100 + le_150 + le_200 + le_350 + le_500 >= (fills * 95 + 99) / 100 THEN 500
    WHEN le_1 + le_2 + le_5 + le_10 + le_20 + le_35 + le_50 + le_75
      + le_100 + le_150 + le_200 + le_350 + le_500 + le_1000 >= (fills * 95 + 99) / 100 THEN 1000
    WHEN le_1 + le_2 + le_5 + le_10 + le_20 + le_35 + le_50 + le_75
      + le_100 + le_150 + le_200 + le_350 + le_500 + le_1000 + le_2500 >= (fills * 95 + 99) / 100 THEN 2500
    ELSE 2500
  END
FROM tumbling_sums;

INSERT INTO sliding
SELECT
  channel,
  DATE_FORMAT(window_start, 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z'''),
  DATE_FORMAT(window_end, 'yyyy-MM-dd''T''HH:mm:ss.SSS''Z'''),
  deliveries, requests, hits, stale, errors, refused, `bytes`, origin_requests, prefetches, origin_bytes, fills,
  hits * 1000 / NULLIF(requests, 0),
  errors * 1000 / NULLIF(requests, 0),
  origin_requests * 1000 / ${WINDOW_SECONDS},
  `bytes` * 8 / ${WINDOW_SECONDS},
  -- The bound of the class in which the nearest rank of the 95th of a hundred lies.
  CASE
    WHEN fills = 0 THEN CAST(NULL AS BIGINT)
    WHEN le_1 >= (fills * 95 + 99) / 100 THEN 1
    WHEN le_1 + le_2 >= (fills * 95 + 99) / 100 THEN 2
    WHEN le_1 + le_2 + le_5 >= (fills * 95 + 99) / 100 THEN 5
    WHEN le_1 + le_2 + le_5 + le_10 >= (fills * 95 + 99) / 100 THEN 10
    WHEN le_1 + le_2 + le_5 + le_10 + le_20 >= (fills * 95 + 99) / 100 THEN 20
    WHEN le_1 + le_2 + le_5 + le_10 + le_20 + le_35 >= (fills * 95 + 99) / 100 THEN 35
    WHEN le_1 + le_2 + le_5 + le_10 + le_20 + le_35 + le_50 >= (fills * 95 + 99) / 100 THEN 50
    WHEN le_1 + le_2 + le_5 + le_10 + le_20 + le_35 + le_50 + le_75 >= (fills * 95 + 99) / 100 THEN 75
    WHEN le_1 + le_2 + le_5 + le_10 + le_20 + le_35 + le_50 + le_75 + le_100 >= (fills * 95 + 99) / 100 THEN 100
    WHEN le_1 + le_2 + le_5 + le_10 + le_20 + le_35 + le_50 + le_75
      + le_100 + le_150 >= (fills * 95 + 99) / 100 THEN 150
    WHEN le_1 + le_2 + le_5 + le_10 + le_20 + le_35 + le_50 + le_75
      + le_100 + le_150 + le_200 >= (fills * 95 + 99) / 100 THEN 200
    WHEN le_1 + le_2 + le_5 + le_10 + le_20 + le_35 + le_50 + le_75
      + le_100 + le_150 + le_200 + le_350 >= (fills * 95 + 99) / 100 THEN 350
    WHEN le_1 + le_2 + le_5 + le_10 + le_20 + le_35 + le_50 + le_75
      + le_100 + le_150 + le_200 + le_350 + le_500 >= (fills * 95 + 99) / 100 THEN 500
    WHEN le_1 + le_2 + le_5 + le_10 + le_20 + le_35 + le_50 + le_75
      + le_100 + le_150 + le_200 + le_350 + le_500 + le_1000 >= (fills * 95 + 99) / 100 THEN 1000
    WHEN le_1 + le_2 + le_5 + le_10 + le_20 + le_35 + le_50 + le_75
      + le_100 + le_150 + le_200 + le_350 + le_500 + le_1000 + le_2500 >= (fills * 95 + 99) / 100 THEN 2500
    ELSE 2500
  END
FROM sliding_sums;
