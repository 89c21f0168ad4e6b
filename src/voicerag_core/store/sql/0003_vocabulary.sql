-- In how many passages of a collection each word stands as it is written, for recognisers, which
-- cannot guess a name that they have never heard. Kept by every write, in its transaction. Runs as
-- voicerag_owner with the schema of the extension on the search path.

ALTER TABLE voicerag.collections
    ADD COLUMN vocabulary_version bigint NOT NULL DEFAULT 0;  -- grows with every change of it

CREATE TABLE voicerag.vocabulary (
    tenant text NOT NULL,
    collection_id integer NOT NULL,
    word text NOT NULL,
    passages bigint NOT NULL,
    PRIMARY KEY (tenant, collection_id, word)
) WITH (fillfactor = 70);                   -- counts change often, within their page
ALTER TABLE voicerag.vocabulary ENABLE ROW LEVEL SECURITY;
ALTER TABLE voicerag.vocabulary FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON voicerag.vocabulary TO voicerag_owner, voicerag_writer, voicerag_reader
    USING (tenant = current_setting('voicerag.tenant', true))
    WITH CHECK (tenant = current_setting('voicerag.tenant', true));
GRANT SELECT ON voicerag.vocabulary TO voicerag_reader;
GRANT SELECT, INSERT, UPDATE, DELETE ON voicerag.vocabulary TO voicerag_writer;

-- The different words of a passage, its title and the headings above it: 2 to 30 letters, digits
-- and hyphens, one letter at least.
CREATE FUNCTION voicerag.written_words(body text, metadata jsonb) RETURNS SETOF text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT DISTINCT found[1] FROM regexp_matches(
        CASE jsonb_typeof(metadata -> 'title')
            WHEN 'string' THEN (metadata ->> 'title') || E'\n' ELSE '' END
        || CASE jsonb_typeof(metadata -> 'path') WHEN 'array' THEN coalesce(
            (SELECT string_agg(heading, E'\n') || E'\n'
             FROM jsonb_array_elements_text(metadata -> 'path') heading), '') ELSE '' END
        || body, '[[:alnum:]]+(?:-[[:alnum:]]+)*', 'g') found
    WHERE length(found[1]) BETWEEN 2 AND 30 AND found[1] ~ '[[:alpha:]]'
$$;

-- Every write to passages fires this, drop_collection and a migration too. The row of the
-- collection is locked first, so that two writers follow each other and never wait in a circle.
CREATE FUNCTION voicerag.keep_vocabulary() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
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
CREATE TRIGGER vocabulary_insert AFTER INSERT ON voicerag.passages
    REFERENCING NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION voicerag.keep_vocabulary();
CREATE TRIGGER vocabulary_update AFTER UPDATE ON voicerag.passages
    REFERENCING OLD TABLE AS gone NEW TABLE AS fresh
    FOR EACH STATEMENT EXECUTE FUNCTION voicerag.keep_vocabulary();
CREATE TRIGGER vocabulary_delete AFTER DELETE ON voicerag.passages
    REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION voicerag.keep_vocabulary();

-- Passages that are there already, of every tenant in turn; see 0002_words.sql.
ALTER TABLE voicerag.collections NO FORCE ROW LEVEL SECURITY;
DO $$
DECLARE
    here record;
BEGIN
    FOR here IN SELECT DISTINCT tenant FROM voicerag.collections ORDER BY tenant LOOP
        PERFORM set_config('voicerag.tenant', here.tenant, true);
        INSERT INTO voicerag.vocabulary
            SELECT tenant, collection_id, word, count(*)
            FROM voicerag.passages, voicerag.written_words(body, metadata) word
            GROUP BY 1, 2, 3;
    END LOOP;
    PERFORM set_config('voicerag.tenant', '', true);
END
$$;
ALTER TABLE voicerag.collections FORCE ROW LEVEL SECURITY;
