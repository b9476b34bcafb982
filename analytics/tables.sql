-- SPDX-License-Identifier: Apache-2.0
-- Where the windows read and write. ${BOOTSTRAP}, ${PREFIX} and ${WATERMARK_SECONDS} are filled in: see README.md.

-- Windows begin at multiples of their slide since 1970 in this zone.
SET 'table.local-time-zone' = 'UTC';

-- Heartbeats and deliveries, CloudEvents in structured mode; of other types `data` has other fields, which stay null.
-- The watermark follows every event at once, so that what is late does not depend on when a timer ran.
CREATE TABLE health (
  id STRING,
  `type` STRING,
  `time` TIMESTAMP_LTZ(3),
  data ROW<
    channel STRING,
    requests BIGINT, hits BIGINT, stale BIGINT, errors BIGINT, refused BIGINT, `bytes` BIGINT,
    origin_requests BIGINT, prefetches BIGINT, origin_bytes BIGINT,
    fills ROW<
      le_1 BIGINT, le_2 BIGINT, le_5 BIGINT, le_10 BIGINT, le_20 BIGINT, le_35 BIGINT, le_50 BIGINT, le_75 BIGINT,
      le_100 BIGINT, le_150 BIGINT, le_200 BIGINT, le_350 BIGINT, le_500 BIGINT, le_1000 BIGINT, le_2500 BIGINT,
      `more` BIGINT>>,
  WATERMARK FOR `time` AS `time` - INTERVAL '${WATERMARK_SECONDS}' SECOND
) WITH (
  'connector' = 'kafka',
  'topic' = '${PREFIX}.health',
  'properties.bootstrap.servers' = '${BOOTSTRAP}',
  'properties.group.id' = '${PREFIX}-windows',
  'properties.auto.offset.reset' = 'earliest',
  'scan.startup.mode' = 'group-offsets',
  'scan.watermark.emit.strategy' = 'on-event',
  'format' = 'json',
  'json.timestamp-format.standard' = 'ISO-8601',
  'json.ignore-parse-errors' = 'true'
);

-- A row a window and channel, final: the fields that GET /events/windows has, without `revision` and `final`.
CREATE TABLE tumbling (
  channel STRING, window_start STRING, window_end STRING, deliveries BIGINT,
  requests BIGINT, hits BIGINT, stale BIGINT, errors BIGINT, refused BIGINT, `bytes` BIGINT,
  origin_requests BIGINT, prefetches BIGINT, origin_bytes BIGINT, fills BIGINT,
  hit_permille BIGINT, error_permille BIGINT, origin_requests_per_1000_s BIGINT, bits_per_second BIGINT,
  fill_p95_ms BIGINT
) WITH (
  'connector' = 'kafka',
  'topic' = '${PREFIX}.windows',
  'properties.bootstrap.servers' = '${BOOTSTRAP}',
  -- What makes a row be there once where checkpoints are on: see README.md.
  'sink.transactional-id-prefix' = '${PREFIX}-tumbling',
  'key.format' = 'raw',
  'key.fields' = 'channel',
  'value.format' = 'json'
);

CREATE TABLE sliding WITH (
  'topic' = '${PREFIX}.windows.sliding',
  'sink.transactional-id-prefix' = '${PREFIX}-sliding'
) LIKE tumbling (OVERWRITING OPTIONS);
