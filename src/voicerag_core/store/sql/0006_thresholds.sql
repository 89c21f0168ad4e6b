-- The thresholds of a collection as `voicerag calibrate` chose them: an object with the fields of
-- voicerag_core.Thresholds; null takes the usual ones. Runs as voicerag_owner.

ALTER TABLE voicerag.collections ADD COLUMN thresholds jsonb;
