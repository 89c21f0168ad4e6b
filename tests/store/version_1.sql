-- What version 1 of the schema held after two tenants filled it: three collections, two documents,
-- five passages. Runs as voicerag_writer. Words were those of the text alone, Chinese in pairs.
SELECT set_config('voicerag.tenant', 'ada', true);
INSERT INTO voicerag.collections
    (tenant, name, model_id, dim, language, passages, vectors, counted_words_at) VALUES
    ('ada', 'default', 'test', 8, 'english', 3, 4, 3),
    ('ada', 'german', 'test', 8, 'german', 1, 1, 1);
INSERT INTO voicerag.documents (tenant, collection_id, source, source_hash, digest)
    SELECT tenant, id, 'leave.md', sha256('leave.md'), '1'
    FROM voicerag.collections WHERE name = 'default';
INSERT INTO voicerag.passages (tenant, collection_id, document_id, hash, id, body, metadata, words)
    SELECT c.tenant, c.id, d.id, 'hash', p.id, p.body, p.metadata::jsonb,
        to_tsvector(c.language::regconfig, coalesce(p.paired, p.body))
    FROM (VALUES
        ('default', 'leave.md', 'a1', 'Parents may take sixteen weeks off.',
         '{"title": "Staff handbook", "source": "leave.md"}', NULL),
        ('default', 'leave.md', 'a2', 'The rivers were flowing.', '{"n": 2}', NULL),
        ('default', NULL, 'a3', '长江流入东海。', '{"title": "长江"}',
         ' 长江 江流 流入 入东 东海 。'),
        ('german', NULL, 'g1', 'Die Häuser am Fluss.', '{"path": ["Wohnen"]}', NULL)
    ) p (collection, source, id, body, metadata, paired)
    JOIN voicerag.collections c ON c.name = p.collection
    LEFT JOIN voicerag.documents d ON d.source = p.source;
INSERT INTO voicerag.vectors (tenant, collection_id, passage, ordinal, embedding)
    SELECT p.tenant, p.collection_id, p.pid, v.ordinal, v.embedding::halfvec
    FROM (VALUES
        ('a1', 0, '[1,0,0,0,0,0,0,0]'), ('a1', 1, '[0,0,0,0,0,0,0,1]'),
        ('a2', 0, '[0,1,0,0,0,0,0,0]'), ('a3', 0, '[0,0,1,0,0,0,0,0]'),
        ('g1', 0, '[0,0,0,1,0,0,0,0]')
    ) v (id, ordinal, embedding) JOIN voicerag.passages p USING (id);
INSERT INTO voicerag.lexemes
    SELECT tenant, id, 'river', 2 FROM voicerag.collections WHERE name = 'default';

SELECT set_config('voicerag.tenant', 'bob', true);
INSERT INTO voicerag.collections
    (tenant, name, model_id, dim, language, passages, vectors, counted_words_at) VALUES
    ('bob', 'default', 'test', 8, 'simple', 1, 1, 1);
INSERT INTO voicerag.documents (tenant, collection_id, source, source_hash, digest)
    SELECT tenant, id, 'plans.md', sha256('plans.md'), '7' FROM voicerag.collections;
INSERT INTO voicerag.passages (tenant, collection_id, document_id, hash, id, body, metadata, words)
    SELECT tenant, collection_id, id, 'hash', 'a1', 'The rivers of another firm.',
        '{"title": "Secret plans", "path": "no list", "lead": 3}',
        to_tsvector('simple', 'The rivers of another firm.')
    FROM voicerag.documents;
INSERT INTO voicerag.vectors (tenant, collection_id, passage, ordinal, embedding)
    SELECT tenant, collection_id, pid, 0, '[1,0,0,0,0,0,0,0]' FROM voicerag.passages;
