-- Collections that are searched by vectors alone: the words of their passages are neither made nor
-- indexed nor counted for recognisers. Runs as voicerag_owner.

ALTER TABLE voicerag.collections
    ADD COLUMN words boolean NOT NULL DEFAULT true;     -- chosen when the collection is made

ALTER TABLE voicerag.passages ALTER COLUMN words DROP NOT NULL;  -- null without words

-- As in 0005_large.sql; a statement writes the passages of one collection, and nothing is kept of
-- one without words.
CREATE OR REPLACE FUNCTION voicerag.keep_vocabulary() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM FROM voicerag.collections WHERE words AND id IN (SELECT collection_id FROM fresh);
    ELSE
        PERFORM FROM voicerag.collections WHERE words AND id IN (SELECT collection_id FROM gone);
    END IF;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'INSERT' AND current_setting('voicerag.loading', true) = 'on' THEN
        UPDATE voicerag.collections SET vocabulary_behind = true
            WHERE id IN (SELECT collection_id FROM fresh) AND NOT vocabulary_behind;
        RETURN NULL;
    END IF;
    IF TG_OP = 'INSERT' THEN
        UPDATE voicerag.collections SET vocabulary_version = vocabulary_version + 1
            WHERE id IN (SELECT collection_id FROM fresh);
    ELSE
        UPDATE voicerag.collections SET vocabulary_version = vocabulary_version + 1
            WHERE id IN (SELECT collection_id FROM gone);
        -- Words of which none is left go, by their key: two parts of one statement, since each of
        -- them sees the rows as they were before it.
        WITH lost AS MATERIALIZED (
            SELECT tenant, collection_id, word, count(*) AS passages
            FROM gone, voicerag.written_words(body, metadata) word GROUP BY 1, 2, 3
        ), dropped AS (
            DELETE FROM voicerag.vocabulary v USING lost o
            WHERE (v.tenant, v.collection_id, v.word) = (o.tenant, o.collection_id, o.word)
                AND v.passages <= o.passages
        )
        UPDATE voicerag.vocabulary v SET passages = v.passages - o.passages FROM lost o
            WHERE (v.tenant, v.collection_id, v.word) = (o.tenant, o.collection_id, o.word)
                AND v.passages > o.passages;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        INSERT INTO voicerag.vocabulary AS v
            SELECT tenant, collection_id, word, count(*)
            FROM fresh, voicerag.written_words(body, metadata) word GROUP BY 1, 2, 3
            ON CONFLICT (tenant, collection_id, word)
            DO UPDATE SET passages = v.passages + excluded.passages;
    END IF;
    RETURN NULL;
END
$$;
